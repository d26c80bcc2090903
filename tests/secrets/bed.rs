//! The servers, the configuration and the environment in which secrets are planted.

use std::{fs, path::PathBuf, process::Output, time::Duration};

use tempfile::TempDir;
use testkit::{Certificate, RedisServer};

use super::Written;
use crate::support::{Daemon, redprobe};

/// In every secret that can be chosen.
pub(super) const MARK: &str = "pl4nted";
pub(super) const TOKEN: &str = "pl4nted-token";
pub(super) const WRONG_TOKEN: &str = "Bearer pl4nted-guess";
/// `reader:pl4nted-web`, as HTTP sends it.
pub(super) const BASIC: &str = "Basic cmVhZGVyOnBsNG50ZWQtd2Vi";
/// For anything that a busy machine may delay; a test that waits this long has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// The targets: what is wrong with each is in its name, and nothing with the first four.
pub(super) const TARGETS: [&str; 11] = [
    "by_url",
    "by_file",
    "by_env",
    "by_tls",
    "wrong",
    "without",
    "echo",
    "refused",
    "untrusted",
    "unshown",
    "behind",
];

pub(super) struct Bed {
    directory: TempDir,
    server: RedisServer,
    /// Asks for a certificate.
    by_tls: RedisServer,
    /// Repeats what it is sent with AUTH, which it does not know.
    echo: RedisServer,
    client: Certificate,
    hash: String,
}

impl Bed {
    pub(super) fn new() -> Self {
        let secrets = ["--requirepass", "pl4nted-require", "--masterauth", "pl4nted-master"];
        let chatty = ["--slowlog-log-slower-than", "0", "--latency-monitor-threshold", "1"];
        let server = RedisServer::with(&[&secrets[..], &chatty].concat());
        for (name, password) in
            [("prober", "pl4nted-url"), ("other", "pl4nted-file"), ("third", "pl4nted-env")]
        {
            let _url = server.user(name, password, "~* &* +@all");
        }
        server.ok(&["SET", "user:1", "pl4nted-value"]);
        let client = Certificate::valid(&["localhost"]);
        let by_tls = RedisServer::with_tls(&client, &[&secrets[..], &["--tls-auth-clients", "yes"]].concat());
        let echo = RedisServer::with(&["--rename-command", "AUTH", ""]);
        let directory = TempDir::new().expect("a temporary directory can be made");
        let hash = bcrypt::hash("pl4nted-web", 4).expect("it can be hashed");
        let bed = Self { directory, server, by_tls, echo, client, hash };
        bed.write("password", "pl4nted-file\n");
        bed.write("web.yml", &format!("basic_auth_users:\n  reader: {}\n", bed.hash));
        bed.write("redprobe.toml", &bed.config());
        bed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("an own directory can be written");
    }

    /// Where the daemon and the commands log.
    pub(super) fn logs(&self) -> PathBuf {
        self.path("logs")
    }

    /// Everything that must not show.
    pub(super) fn needles(&self) -> Vec<String> {
        let key = fs::read_to_string(self.client.key()).expect("it is there");
        let key = key.lines().filter(|line| !line.starts_with('-')).map(str::to_owned);
        let hash = self.hash[29..].to_owned();
        let basic = BASIC["Basic ".len()..].to_owned();
        key.chain([MARK.to_owned(), hash, basic]).collect()
    }

    /// Where they are, once each.
    pub(super) fn planted(&self) -> Written {
        let mut planted = Written::default();
        let read = |path: PathBuf| fs::read_to_string(path).expect("it is there");
        planted.add("the configuration", self.config());
        planted.add("the hash", read(self.path("web.yml")));
        planted.add("the key", read(self.client.key()));
        planted.add("a header", BASIC);
        planted
    }

    fn config(&self) -> String {
        let [plain, tls, echo] = [self.server.url(), self.by_tls.tls_url(), self.echo.url()];
        let with = |url: &str, login: &str| url.replace("://", &format!("://{login}@"));
        let file = |name: &str| self.path(name).display().to_string();
        let (ca, cert, key) = (self.client.authority(), self.client.certificate(), self.client.key());
        let target = |name: &str, url: &str, more: &str| {
            format!("[targets.{name}]\nurl = '{url}'\nallow = 'touch'\nresponse_timeout = '2s'\n{more}\n")
        };
        let sentinel = format!(
            "[targets.behind]\nsentinels = ['{}']\nsentinel_service = 'm'\nsentinel_password = 'pl4nted-sentinel'\n\
             password = 'pl4nted-service'\n",
            self.echo.address()
        );
        let identity = format!("cert_file = {cert:?}\nkey_file = {key:?}\n");
        let trust = format!("ca_file = {ca:?}\n");
        [
            format!("[http]\napi_token = '{TOKEN}'\nweb_config_file = '{}'\n", file("web.yml")),
            "[log]\nlevel = 'trace'\n[jobs.health]\nprobe = 'health'\ntargets = ['*']\nschedule = 'every 5s'\n".into(),
            "[jobs.audit]\nprobe = 'config_audit'\ntargets = ['*']\nschedule = 'every 5s'\n".into(),
            "[jobs.census]\nprobe = 'client_census'\ntargets = ['*']\nschedule = 'every 5s'\n".into(),
            sentinel,
            target("by_url", &with(&plain, "prober:pl4nted-url"), ""),
            target("by_file", &plain, &format!("username = 'other'\npassword_file = '{}'\n", file("password"))),
            target("by_env", &plain, "username = 'third'\n"),
            target("by_tls", &with(&tls, ":pl4nted-require"), &format!("{trust}{identity}")),
            target("wrong", &plain, "password = 'pl4nted-wrong'\n"),
            target("without", &plain, ""),
            target("echo", &echo, "password = 'pl4nted-echo'\n"),
            target("refused", "redis://u:pl4nted-refused@127.0.0.1:1", ""),
            target("untrusted", &tls, &format!("password = 'pl4nted-require'\n{identity}")),
            target("unshown", &tls, &format!("password = 'pl4nted-require'\n{trust}")),
        ]
        .concat()
    }

    /// Each with a mistake at, or beside, a secret.
    pub(super) fn bad_configs(&self) -> Vec<String> {
        let target = |text: &str| format!("[targets.a]\n{text}\n");
        let key = self.client.key();
        vec![
            target("url = 'redis://:pl4nted#url@127.0.0.1'"),
            target("url = 'redis://:pl4nted/url@127.0.0.1'"),
            target("url = 'http://u:pl4nted@127.0.0.1'"),
            target("url = 'redis://u:pl4nted@127.0.0.1'\npassword = 'pl4nted-twice'"),
            target("url = 'redis://h'\npassword = ['pl4nted']"),
            target("url = 'redis://h'\npasswort = 'pl4nted'"),
            target("url = 'redis://h'\nallow = 'much'\npassword = 'pl4nted'"),
            target(&format!("url = 'rediss://h'\ncert_file = {key:?}\nkey_file = {key:?}")),
            target(&format!("url = 'rediss://h'\nca_file = {key:?}")),
            format!("[http]\napi_token = {{ a = 'pl4nted' }}\n{}", target("url = 'redis://h'")),
            format!("{}[apps.a]\nurl = 'x://u:pl4nted@h'\ntarget = 'b'\n", target("url = 'redis://h'")),
        ]
    }

    /// URLs of targets with a password in them, each of which fails in its way.
    pub(super) fn urls(&self) -> Vec<String> {
        let login = "://prober:pl4nted-typed@";
        vec![
            self.server.url().replace("://", login),
            self.echo.url().replace("://", login),
            self.by_tls.tls_url().replace("://", login),
            "redis://prober:pl4nted-typed@127.0.0.1:1".into(),
            "redis://prober:pl4nted#typed@127.0.0.1:1".into(),
            "unix:///no/such.sock?user=prober&pass=pl4nted-typed".into(),
        ]
    }

    /// The daemon, once it listens. It logs to a directory too.
    pub(super) fn daemon(&self) -> Daemon {
        let logs = self.logs().display().to_string();
        let mut daemon = Daemon::launch_with(&self.config(), |command| {
            command.args(["--log-dir", &logs]).envs(ENVIRONMENT).env("RUST_BACKTRACE", "full")
        });
        daemon.await_listening();
        daemon
    }

    /// Any command with the good configuration.
    pub(super) fn call(&self, arguments: &[&str]) -> Output {
        self.run("redprobe.toml", arguments)
    }

    /// Any command with another one.
    pub(super) fn call_with(&self, config: &str, arguments: &[&str]) -> Output {
        self.write("bad.toml", config);
        self.run("bad.toml", arguments)
    }

    fn run(&self, config: &str, arguments: &[&str]) -> Output {
        let state = self.path("state");
        redprobe(arguments)
            .current_dir(self.directory.path())
            .env("REDPROBE_CONFIG", config)
            .env("REDPROBE__STATE_DIR", state)
            .env("RUST_LOG", "trace")
            .envs(ENVIRONMENT)
            .output()
            .expect("the binary was built with the tests")
    }
}

/// One that is read, and one that is there.
const ENVIRONMENT: [(&str, &str); 2] =
    [("REDPROBE__TARGETS__BY_ENV__PASSWORD", "pl4nted-env"), ("OTHER_SECRET", "pl4nted-other")];
