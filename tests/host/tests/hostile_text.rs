//! Text that somebody else wrote, through every entrance at once: it forges no line and no field of
//! the journal, and drives no terminal.

use anyhow::Result;
use autodeploy_testhost::follow::end_of;
use autodeploy_testhost::forge::Scheme;
use autodeploy_testhost::host::Host;
use autodeploy_testhost::world::World;

/// A title of the window, a cleared screen, a line over the line, a text that reads backwards, and
/// what looks like a line and a field of the journal.
const HOSTILE: &str = "\x1b]0;owned\x07\x1b[2J\rover \u{202e}evil\u{200b}\u{9b}31m MESSAGE=forged AUTODEPLOY_FORGED=1";

/// The same as the argument of `printf`, in a string of TOML, with line ends and what is no UTF-8.
const PRINTED: &str = "\\\\033]0;owned\\\\007\\\\033[2J\\\\nMESSAGE=forged\\\\nAUTODEPLOY_FORGED=1\\\\n\
    <0>forged\\\\r\\\\377\\\\342\\\\200\\\\256\\\\n";

fn is_safe(text: &str) -> bool {
    let fine = |c: char| matches!(c, '\n' | '\t') || !c.is_control();
    let turns =
        |c: char| matches!(c, '\u{200b}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().all(|c| fine(c) && !turns(c))
}

fn assert_safe_everywhere(host: &Host) -> Result<()> {
    for line in [
        "autodeployctl status",
        "autodeployctl status --json",
        "autodeployctl history",
        "autodeployctl history --json",
        "for id in 1 2 3 4; do autodeployctl show $id; done",
        "for id in 1 2 3 4; do autodeployctl show $id --json; done",
        "for id in 1 2 3 4; do autodeployctl log $id; done",
        "systemctl show --property=StatusText autodeploy autodeploy-trial",
    ] {
        let output = host.run(line)?;
        let said = output.stdout + &output.stderr;
        assert!(is_safe(&said), "{line}: {said:?}");
    }
    let entries = host.journal("-t autodeployd -t autodeploy-activate")?;
    for entry in &entries {
        let message = entry["MESSAGE"].as_str();
        // What something printed follows our sentence, and never begins a line.
        let ours = |text: &str| text.lines().skip(1).all(|line| line.starts_with("    "));
        assert!(message.is_some_and(|text| is_safe(text) && ours(text)), "{entry:#}");
    }
    assert!(
        entries.iter().any(|one| one["MESSAGE"].as_str().unwrap_or_default().contains("forged"))
    );
    for forged in ["MESSAGE=forged", "AUTODEPLOY_FORGED=1", "AUTODEPLOY_OUTCOME=forged"] {
        let found = host.run(&format!("journalctl --quiet --no-pager -o cat {forged}"))?;
        assert_eq!(found.text(), "", "{forged}");
    }
    Ok(())
}

#[test]
fn no_text_from_outside_forges_a_line_or_drives_a_terminal() -> Result<()> {
    let world = World::following("hostile-text", Scheme::Http)?;
    let flake = std::fs::read_to_string(world.forge.infra.path.join("flake.nix"))?;
    let evaluated = world.forge.push(HOSTILE, |infra| {
        infra.write("flake.nix", &format!("{{ outputs = _: throw ''{HOSTILE}\n{HOSTILE}''; }}"))
    })?;
    assert_eq!(end_of(&world.host.verdict(&evaluated)?), "failed/evaluation-failed");
    let built = world.forge.push(HOSTILE, |infra| {
        infra.write("flake.nix", &flake)?;
        let line = format!("printf '{}' >&2", PRINTED.replace("\\\\", "\\"));
        infra.write("stand-in/build-toplevel", &format!("#!/bin/sh\n{line}\nexit 1\n"))
    })?;
    assert_eq!(end_of(&world.host.verdict(&built)?), "failed/build-failed");
    world.forge.infra.git(&["checkout", "-q", &world.first_commit, "--", "stand-in"])?;
    let config = world.forge.infra.default_config(Scheme::Http.url(), "6s", "2s");
    let script = format!("printf '{PRINTED}'; head -c 10000000 /dev/zero | tr '\\\\0' x; exit 1");
    world.forge.infra.config(&format!(
        "{config}\n[health.checks.loud]\nkind = \"command\"\n\
         command = [\"/bin/sh\", \"-c\", \"{script}\"]\ntimeout = \"3s\"\n"
    ))?;
    world.forge.infra.commit(HOSTILE)?;
    let author = format!("--author={HOSTILE} <a@b>");
    world.forge.infra.git(&["commit", "-q", "--amend", "--no-edit", &author])?;
    world.forge.push_as_it_is(&[])?;
    let commit = world.forge.infra.git(&["rev-parse", "HEAD"])?;
    let reverted = world.host.verdict(&commit)?;
    assert_eq!(end_of(&reverted), "reverted/unhealthy");
    let shown = reverted.to_string();
    assert!(shown.contains("\\\\u{1b}]0;owned\\\\u{7}"), "{shown}");
    assert!(shown.len() < 100_000, "{} bytes", shown.len());
    assert_safe_everywhere(&world.host)
}
