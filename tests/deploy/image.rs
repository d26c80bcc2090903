//! The Dockerfile against what it builds: toolchain, workspace, user, health check.

use std::collections::BTreeSet;

use super::{at, compose::Compose, is_pinned, read};

/// Its instructions, continued lines joined, without comments.
fn instructions() -> Vec<(String, String)> {
    let text = read("Dockerfile").replace("\\\n", " ");
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .map(|line| {
            let (word, rest) = line.split_once(' ').expect("an instruction and its arguments");
            (word.to_owned(), rest.split_whitespace().collect::<Vec<_>>().join(" "))
        })
        .collect()
}

fn of(word: &str) -> Vec<String> {
    instructions().into_iter().filter(|(name, _)| name == word).map(|(_, rest)| rest).collect()
}

#[test]
fn it_is_built_by_the_toolchain_of_the_repository() {
    let from = of("FROM");
    let images: Vec<_> = from.iter().map(|line| line.split(' ').next().unwrap_or_default()).collect();
    assert!(images.len() == 2 && images.iter().all(|image| is_pinned(image)), "{images:?}");
    let toolchain: toml::Table = read("rust-toolchain.toml").parse().expect("TOML");
    let channel = toolchain["toolchain"]["channel"].as_str().expect("text");
    assert!(images[0].starts_with(&format!("rust:{channel}-")), "{} is not {channel}", images[0]);
    assert!(images[1].starts_with("gcr.io/distroless/cc-"), "{} may have a shell", images[1]);
    for build in of("RUN").iter().flat_map(|run| run.split("&& ")).filter(|run| run.contains("cargo build")) {
        assert!(build.contains("--locked") && build.contains("--release"), "{build}");
    }
}

/// A crate whose manifest is not copied would break the build, and nobody would see it here.
#[test]
fn every_crate_of_the_workspace_is_in_the_layer_of_dependencies() {
    let manifest: toml::Table = read("Cargo.toml").parse().expect("TOML");
    let members = manifest["workspace"]["members"].as_array().expect("a list");
    let copied: BTreeSet<String> =
        of("COPY").iter().flat_map(|copy| copy.split(' ')).map(str::to_owned).collect();
    let run = of("RUN").join("\n");
    for member in members.iter().map(|member| member.as_str().expect("text")).filter(|member| *member != ".")
    {
        assert!(copied.contains(&format!("{member}/Cargo.toml")), "{member} is missing in the Dockerfile");
        let source = if at(member).join("src/lib.rs").exists() { "lib.rs" } else { "main.rs" };
        assert!(run.contains(&format!("{member}/src/{source}")), "{member} has no stand-in");
    }
    let ignored = read(".dockerignore");
    for needed in ["Cargo.toml", "Cargo.lock", "src", "crates"] {
        assert!(copied.contains(needed) && ignored.contains(&format!("\n!{needed}\n")), "{needed}");
    }
    assert!(ignored.lines().any(|line| line == "*"), "what nobody named goes to the builder");
    assert!(
        !at("build.rs").exists() && !at("crates/measure/build.rs").exists(),
        "copy build scripts as well"
    );
}

#[test]
fn it_runs_as_the_compose_file_says() {
    let service = &Compose::read().services["redprobe"];
    assert_eq!(of("USER"), ["65532:65532"]);
    assert_eq!(of("STOPSIGNAL"), ["SIGTERM"]);
    assert_eq!(of("ENTRYPOINT"), ["[\"/usr/local/bin/redprobe\"]"]);
    let check = of("HEALTHCHECK").pop().expect("it has one");
    let (_, command) = check.split_once("CMD ").expect("a command");
    let command: Vec<String> = serde_json::from_str(command).expect("without a shell");
    assert_eq!(command, service.healthcheck.test[1..]);
    let state = of("VOLUME").pop().expect("it has one");
    let state: Vec<String> = serde_json::from_str(&state).expect("a list");
    assert!(of("ENV").contains(&format!("STATE_DIRECTORY={}", state[0])));
    assert!(service.volumes.contains(&format!("redprobe_state:{}", state[0])), "state does not outlive it");
    assert!(of("ARG").contains(&concat!("VERSION=", env!("CARGO_PKG_VERSION")).to_owned()));
}
