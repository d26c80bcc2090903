//! Every case of the web configuration's format, good and bad, with the exact words that `redprobe check` has for it;
//! and promtool's opinion on the same files.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use proptest::prelude::*;
use redprobe::config::web::WebConfig;
use tempfile::TempDir;
use testkit::{Authority, Identity};

use crate::support::{golden, redprobe};

/// What the fixtures hide in places where a value goes: no message may show it.
const SECRET: &str = "hunter2";

/// Files that exporter-toolkit reads and redprobe refuses, each with the reason.
const STRICTER: [(&str, &str); 12] = [
    ("two_documents", "Go reads the first only: what is meant is unclear"),
    (
        "auth_verify_without_ca",
        "Go asks the authorities of the system: anybody who bought a certificate comes in",
    ),
    ("ca_empty_file", "Go lets nobody in and does not say why"),
    ("header_line_break", "Go sends it without the line break: not what was written"),
    ("suites_only_cbc", "rustls has none of them"),
    ("suites_of_tls13_for_tls12", "Go lets every handshake fail"),
    ("suites_without_http2s", "promtool does not start the server, which refuses it"),
    ("curves_only_p521", "rustls does not have it"),
    ("version_too_old", "rustls has neither"),
    ("version_min_above_max", "Go lets every handshake fail"),
    ("user_hash_prefix", "Go takes any version for bcrypt up to 2"),
    ("user_colon", "can never log in"),
];

struct Bench {
    directory: TempDir,
    texts: [(&'static str, String); 6],
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let authority = Authority::new("clients of redprobe");
        let own = authority.server(&["localhost", "127.0.0.1"]);
        let at = |name: &str| directory.path().join(name);
        for (name, text) in [
            ("cert.pem", &own.certificate),
            ("key.pem", &own.key),
            ("ca.pem", &authority.certificate()),
            ("other-key.pem", &Identity::self_signed(&["other"]).key),
            ("redprobe.toml", &"[targets.a]\nurl = \"redis://127.0.0.1\"\n".to_owned()),
        ] {
            fs::write(at(name), text).expect("it can be written");
        }
        let indented =
            |text: &str| text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n");
        let hash = |cost| bcrypt::hash("right", cost).expect("it can be made");
        let texts = [
            ("@DIR@", directory.path().display().to_string()),
            ("@CERT@", indented(&own.certificate)),
            ("@KEY@", indented(&own.key)),
            ("@CA@", indented(&authority.certificate())),
            ("@HASH@", hash(4)),
            ("@HASH5@", hash(5)),
        ];
        Self { directory, texts }
    }

    /// Puts a fixture where its certificates are; returns its name there.
    fn place(&self, fixture: &Path) -> String {
        let mut text = fs::read_to_string(fixture).expect("it can be read");
        for (name, value) in &self.texts {
            text = text.replace(name, value);
        }
        text = text.replace("@HASH_Y@", &self.texts[4].1.replacen("$2b$", "$2y$", 1));
        let name = fixture.file_name().and_then(OsStr::to_str).expect("it has a name");
        fs::write(self.directory.path().join(name), text).expect("it can be written");
        name.to_owned()
    }

    /// Exit code, stdout and stderr of `redprobe check` with this web configuration.
    fn check(&self, name: &str) -> (Option<i32>, String, String) {
        let output = redprobe(&["check", "--config", "redprobe.toml"])
            .current_dir(self.directory.path())
            .env("STATE_DIRECTORY", "/tmp")
            .env("REDPROBE__HTTP__WEB_CONFIG_FILE", name)
            .output()
            .expect("redprobe starts");
        let text = |bytes| String::from_utf8(bytes).expect("it is text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    /// Whether promtool accepts it; and what it says.
    fn promtool(&self, name: &str) -> (bool, String) {
        let output = Command::new("promtool")
            .args(["check", "web-config", name])
            .current_dir(self.directory.path())
            .output()
            .expect("promtool is installed; scripts/install-deps.sh prometheus does it");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn fixtures(kind: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/web-config").join(kind);
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .expect("the fixtures are there")
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yml"))
        .collect();
    files.sort();
    files
}

fn stem(path: &Path) -> &str {
    path.file_stem().and_then(OsStr::to_str).expect("it has a name")
}

/// Keys that the toolkit has learned since the promtool that is installed was built.
fn is_newer(path: &Path) -> bool {
    let text = fs::read_to_string(path).expect("it can be read");
    ["client_allowed_sans", "rate_limit", " cert:", " key:", " client_ca:"]
        .iter()
        .any(|key| text.contains(key))
}

#[test]
fn every_mistake_has_its_message() {
    let bench = Bench::new();
    let files = fixtures("bad");
    assert!(files.len() >= 80, "fixtures are missing: {} left", files.len());
    for file in files {
        let name = bench.place(&file);
        let (code, out, said) = bench.check(&name);
        assert_eq!(code, Some(3), "{name}: {out}{said}");
        assert!(out.is_empty(), "{name}: mistakes belong on stderr");
        assert!(!said.contains(SECRET), "{name} shows a secret: {said}");
        assert!(said.lines().all(|line| line.starts_with(&format!("error: {name}: "))), "{name}: {said}");
        golden(&file.with_extension("txt"), &said);
    }
}

#[test]
fn every_good_file_is_read_and_what_may_surprise_is_said() {
    let bench = Bench::new();
    for file in fixtures("good") {
        let name = bench.place(&file);
        let (code, out, said) = bench.check(&name);
        assert_eq!(code, Some(0), "{name}: {said}");
        let lines = out.lines().filter(|line| line.starts_with("state in ") || line.starts_with("note: "));
        let lines: Vec<&str> = lines.collect();
        golden(&file.with_extension("txt"), &format!("{}\n", lines.join("\n")));
    }
}

#[test]
fn promtool_agrees() {
    let bench = Bench::new();
    let mut judged = 0;
    for file in fixtures("good").iter().filter(|file| !is_newer(file)) {
        let name = bench.place(file);
        let (accepted, said) = bench.promtool(&name);
        assert!(accepted, "{name}: {said}");
        judged += 1;
    }
    for file in fixtures("bad").iter().filter(|file| !is_newer(file)) {
        let name = bench.place(file);
        let reason = STRICTER.iter().find(|(name, _)| *name == stem(file)).map(|(_, reason)| reason);
        let (accepted, said) = bench.promtool(&name);
        assert_eq!(accepted, reason.is_some(), "{name} ({reason:?}): {said}");
        judged += 1;
    }
    assert!(judged > 60, "only {judged} files were judged");
}

proptest! {
    /// Fixtures cut and joined anywhere, with a secret where values go: rules or mistakes, no panic, nothing shown.
    #[test]
    fn damaged_files_are_refused_or_read(
        (first, second) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        (head, tail) in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
    ) {
        static TEXTS: std::sync::LazyLock<Vec<String>> = std::sync::LazyLock::new(|| {
            let files = fixtures("good").into_iter().chain(fixtures("bad"));
            files.map(|file| fs::read_to_string(file).expect("it can be read").replace("@HASH@", SECRET)).collect()
        });
        let (first, second) = (first.get(&TEXTS), second.get(&TEXTS));
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let (first, second) = (lines(first), lines(second));
        let head = &first[..head.index(first.len() + 1)];
        let tail = &second[tail.index(second.len() + 1)..];
        let text = [head, tail].concat().join("\n");
        if let Err(mistakes) = WebConfig::parse(&text, Path::new("/nowhere")) {
            prop_assert!(!mistakes.is_empty());
            for mistake in mistakes {
                prop_assert!(!mistake.message.contains(SECRET), "{mistake} in\n{text}");
            }
        }
    }
}
