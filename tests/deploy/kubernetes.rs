//! `deploy/kubernetes` by the types of Kubernetes' own interface: what does not survive them is a typing mistake there.

use std::time::Duration;

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{Namespace, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
};
use redprobe::config::{Overrides, Plan};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{at, read, secrets::with_secrets, yaml};
use crate::support::golden;

const FOLDER: &str = "deploy/kubernetes";

/// Kubernetes' types leave out what they do not know: whatever is gone or different after the way there and back is
/// named by its path.
fn strictly<T: DeserializeOwned + Serialize>(file: &str) -> T {
    let written: Value = yaml(&format!("{FOLDER}/{file}"));
    let typed: T = serde_json::from_value(written.clone()).unwrap_or_else(|error| panic!("{file}: {error}"));
    let read = serde_json::to_value(&typed).expect("it came from there");
    let lost = lost("", &written, &read);
    assert_eq!(lost, [] as [&str; 0], "{file} says what Kubernetes does not know");
    typed
}

fn lost(path: &str, written: &Value, read: &Value) -> Vec<String> {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => written
            .iter()
            .flat_map(|(key, value)| {
                lost(&format!("{path}.{key}"), value, read.get(key).unwrap_or(&Value::Null))
            })
            .collect(),
        (Value::Array(written), Value::Array(read)) if written.len() == read.len() => {
            let both = written.iter().zip(read).enumerate();
            both.flat_map(|(index, (written, read))| lost(&format!("{path}[{index}]"), written, read))
                .collect()
        }
        _ if written == read => Vec::new(),
        _ => vec![path.to_owned()],
    }
}

#[test]
fn a_typing_mistake_is_found() {
    let written = serde_json::json!({"spec": {"clusterIP": "None", "ports": [{"port": 1, "targetport": 2}]}});
    let typed: Service = serde_json::from_value(written.clone()).expect("it is not noticed there");
    let read = serde_json::to_value(typed).expect("it can be written");
    assert_eq!(lost("", &written, &read), [".spec.ports[0].targetport"]);
}

#[test]
fn the_pods_are_as_restricted_as_their_namespace_asks() {
    let namespace: Namespace = strictly("namespace.yaml");
    let labels = namespace.metadata.labels.expect("it has some");
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
    let account: ServiceAccount = strictly("serviceaccount.yaml");
    assert_eq!(account.automount_service_account_token, Some(false));

    let set: StatefulSet = strictly("statefulset.yaml");
    let pod = set.spec.template.spec.expect("a pod");
    assert_eq!(pod.automount_service_account_token, Some(false));
    let context = pod.security_context.expect("one of the pod");
    assert_eq!(context.run_as_non_root, Some(true));
    assert_eq!((context.run_as_user, context.fs_group), (Some(65532), Some(65532)));
    assert_eq!(context.seccomp_profile.expect("one").type_, "RuntimeDefault");
    for container in pod.containers {
        let context = container.security_context.expect("one of the container");
        assert_eq!(context.allow_privilege_escalation, Some(false));
        assert_eq!(context.read_only_root_filesystem, Some(true));
        assert_eq!(context.capabilities.and_then(|all| all.drop).expect("some"), ["ALL"]);
        let limits = container.resources.and_then(|resources| resources.limits).expect("limits");
        assert!(limits.contains_key("cpu") && limits.contains_key("memory"));
        for probe in [container.liveness_probe, container.readiness_probe, container.startup_probe] {
            let asked = probe.and_then(|probe| probe.http_get).and_then(|get| get.path).expect("a path");
            assert!(["/-/healthy", "/-/ready"].contains(&asked.as_str()), "{asked}");
        }
        assert_eq!(container.image.as_deref(), Some(concat!("redprobe:", env!("CARGO_PKG_VERSION"))));
    }
}

#[test]
fn state_outlives_the_pod_and_a_stop_is_given_longer_than_a_restore_may_take() {
    let set: StatefulSet = strictly("statefulset.yaml");
    let spec = set.spec;
    let config = read(&format!("{FOLDER}/redprobe.toml")).replace("/run/secrets/redprobe", "/run/secrets");
    let config = with_secrets(&config);
    let plan = Plan::load_with(Some(&config.file), [].into(), &Overrides::default()).expect("no mistakes");
    let pod = spec.template.spec.expect("a pod");
    let given = pod.termination_grace_period_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    assert!(
        Duration::from_secs(given.expect("it is set")) >= plan.limits.stop_timeout + Duration::from_secs(10)
    );

    let mounts = pod.containers[0].volume_mounts.clone().expect("some");
    let state = mounts.iter().find(|mount| mount.mount_path == "/var/lib/redprobe").expect("state is kept");
    assert!(read(&format!("{FOLDER}/redprobe.toml")).contains("state_dir = \"/var/lib/redprobe\""));
    let claims = spec.volume_claim_templates.expect("some");
    assert!(claims.iter().any(|claim| claim.metadata.name.as_ref() == Some(&state.name)));
    let kept = spec.persistent_volume_claim_retention_policy.expect("it is said");
    assert_eq!(kept.when_scaled.as_deref(), Some("Retain"));
}

/// Shards count from 1, and so do the pods here; one more pod is one more shard.
#[test]
fn each_pod_has_the_shard_of_its_number() {
    let set: StatefulSet = strictly("statefulset.yaml");
    let spec = set.spec;
    assert_eq!(spec.ordinals.and_then(|ordinals| ordinals.start), Some(1));
    let container = &spec.template.spec.expect("a pod").containers[0];
    assert_eq!(container.args.as_deref().expect("some"), ["serve", "--shard", "$(SHARD)/$(SHARDS)"]);
    let env = container.env.as_deref().expect("some");
    let named = |name: &str| env.iter().find(|one| one.name == name).expect("it is there");
    assert_eq!(named("SHARDS").value, spec.replicas.map(|replicas| replicas.to_string()));
    let shard = named("SHARD").value_from.as_ref().and_then(|from| from.field_ref.as_ref()).expect("a field");
    assert_eq!(shard.field_path, "metadata.labels['apps.kubernetes.io/pod-index']");
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Resource<Spec> {
    api_version: String,
    kind: String,
    metadata: Value,
    spec: Spec,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ServiceMonitor {
    job_label: String,
    selector: Value,
    endpoints: Vec<Endpoint>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Endpoint {
    port: String,
    path: String,
    interval: String,
    scrape_timeout: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rules {
    groups: Vec<Value>,
}

#[test]
fn prometheus_finds_the_pods_and_may_reach_them() {
    let service: Service = strictly("service.yaml");
    let labels = service.metadata.labels.expect("some");
    let service = service.spec.expect("a spec");
    assert_eq!(service.cluster_ip.as_deref(), Some("None"));
    let monitor: Resource<ServiceMonitor> = yaml(&format!("{FOLDER}/servicemonitor.yaml"));
    assert_eq!((&*monitor.api_version, &*monitor.kind), ("monitoring.coreos.com/v1", "ServiceMonitor"));
    let monitor = monitor.spec;
    // The job that alerts and dashboards ask for.
    assert_eq!(labels[&monitor.job_label], "redprobe");
    assert_eq!(monitor.selector["matchLabels"], serde_json::json!(labels));
    let port = &service.ports.expect("some")[0];
    let [endpoint] = &monitor.endpoints[..] else { panic!("{:?}", monitor.endpoints) };
    assert_eq!((Some(&endpoint.port), &*endpoint.path), (port.name.as_ref(), "/metrics"));
    let seconds = |text: &str| humantime::parse_duration(text).expect("a duration");
    assert!(seconds(&endpoint.scrape_timeout) <= seconds(&endpoint.interval));

    let policy: NetworkPolicy = strictly("networkpolicy.yaml");
    let policy = policy.spec.expect("a spec");
    let selected = policy.pod_selector.and_then(|selector| selector.match_labels).expect("labels");
    assert_eq!(Some(selected), service.selector);
    assert_eq!(policy.policy_types.expect("both"), ["Ingress", "Egress"]);
}

/// The rules of alerts/, as the operator takes them.
#[test]
fn the_operator_gets_the_same_rules_as_prometheus() {
    let mut text = "\
# Generated from alerts/ by `make bless`: change it there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: redprobe
  labels:
    app.kubernetes.io/name: redprobe
spec:
  groups:
"
    .to_owned();
    let mut groups = Vec::new();
    for file in ["alerts/recording.rules.yml", "alerts/redprobe.rules.yml"] {
        let rules = read(file);
        let (_, rest) = rules.split_once("\ngroups:\n").expect("a list of groups");
        for line in rest.lines() {
            text += &if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") };
        }
        groups.extend(yaml::<Rules>(file).groups);
    }
    let file = format!("{FOLDER}/prometheusrule.yaml");
    golden(&at(&file), &text);
    let resource: Resource<Rules> = yaml(&file);
    assert_eq!((&*resource.api_version, &*resource.kind), ("monitoring.coreos.com/v1", "PrometheusRule"));
    assert_eq!(resource.metadata["name"], "redprobe");
    assert!(groups.len() > 3 && resource.spec.groups == groups);
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Kustomization {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(rename = "namespace")]
    _namespace: Option<String>,
    #[serde(default)]
    resources: Vec<String>,
    config_map_generator: Vec<Generator>,
    #[serde(rename = "generatorOptions")]
    _generator_options: Option<Value>,
    #[serde(rename = "images")]
    _images: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Generator {
    #[serde(rename = "name")]
    _name: String,
    files: Vec<String>,
}

#[test]
fn everything_here_is_applied() {
    let all: Kustomization = yaml(&format!("{FOLDER}/kustomization.yaml"));
    let files = |folder: &str, end: &str| -> Vec<String> {
        let entries = std::fs::read_dir(at(folder)).expect("it is there");
        let names =
            entries.map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned());
        let mut names: Vec<_> = names.filter(|name| name.ends_with(end)).collect();
        names.sort();
        names
    };
    let mut wanted = files(FOLDER, ".yaml");
    wanted.retain(|name| name != "kustomization.yaml");
    wanted.push("../../grafana".into());
    let mut applied = all.resources;
    applied.sort();
    wanted.sort();
    assert_eq!(applied, wanted);
    assert_eq!(all.config_map_generator[0].files, ["redprobe.toml"]);

    let dashboards: Kustomization = yaml("grafana/kustomization.yaml");
    let maps = dashboards.config_map_generator;
    let mut shown: Vec<_> = maps.iter().flat_map(|map| map.files.iter().cloned()).collect();
    shown.sort();
    let there: Vec<_> =
        files("grafana/dashboards", ".json").into_iter().map(|name| format!("dashboards/{name}")).collect();
    assert_eq!(shown, there);
}
