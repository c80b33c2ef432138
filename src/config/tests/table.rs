//! The table of keys: each is read, and the documentation says what the code does.

use proptest::prelude::*;

use super::*;
use keys::{Harmless, KEYS, Standard, Takes};

/// Returns a file that sets `key` to `value`, with what the key needs beside it.
fn with(key: &str, value: &str) -> String {
    let full = key.replace("NAME", "a");
    let own = full.rsplit('.').next().unwrap_or_default();
    let kind = match own {
        "url" | "expected_status" | "body_contains" => "http",
        "command" | "units" => own,
        _ => "tcp",
    };
    let mut fields = BTreeMap::from([("source.url".to_owned(), "\"file:///x\"".to_owned())]);
    if key.contains("NAME") {
        let mut field = |name: &str, value: &str| {
            fields.insert(format!("health.checks.a.{name}"), value.to_owned());
        };
        field("kind", &format!("\"{kind}\""));
        match kind {
            "http" => field("url", "\"http://h/\""),
            "tcp" => field("address", "\"h:1\""),
            _ => {}
        }
    }
    fields.insert(full, value.to_owned());
    fields.iter().map(|(key, value)| format!("{key} = {value}\n")).collect()
}

/// Returns the tables of `docs/configuration.md` as the code has them.
fn tables() -> BTreeMap<&'static str, String> {
    let mut tables = BTreeMap::<_, String>::new();
    for key in KEYS {
        let section = key.name.split('.').next().unwrap_or_default();
        let row =
            [&format!("`{}`", key.name), &key.standard.said(), &key.takes.said(), key.meaning];
        let row = row.map(|cell| cell.replace('|', "\\|")).join(" | ");
        tables.entry(section).or_default().push_str(&format!("| {row} |\n"));
    }
    tables
}

#[test]
fn every_key_of_the_table_is_read() {
    for key in KEYS {
        let failure = strict(&with(key.name, "2001-01-01"), "c", "box").expect_err(key.name);
        assert!(
            failure.message.contains(&format!("`{}`", key.name.replace("NAME", "a"))),
            "{failure}"
        );
        assert!(failure.message.contains("line"), "{failure}");
    }
}

#[test]
fn every_choice_works_or_says_that_it_does_not_yet() {
    let choices = KEYS.iter().filter_map(|key| match key.takes {
        Takes::Choice { now, later } => Some((key.name, now, later)),
        _ => None,
    });
    for (name, now, later) in choices {
        for word in now {
            let (_, problems) = read(&with(name, &format!("\"{word}\"")), "box").unwrap();
            let about = |one: &&Problem| {
                one.message.contains("not supported") || one.message.contains("must be")
            };
            assert_eq!(problems.iter().find(about), None, "{name} = {word}");
        }
        for word in later {
            let (_, problems) = read(&with(name, &format!("\"{word}\"")), "box").unwrap();
            assert!(
                problems
                    .iter()
                    .any(|one| one.message.contains("is not supported by this release yet")),
                "{name} = {word}"
            );
        }
    }
}

#[test]
fn a_key_of_a_later_release_is_an_error_unless_it_changes_nothing() {
    for key in KEYS {
        let Takes::Later(harmless) = key.takes else { continue };
        let (_, problems) = read(&with(key.name, "\"some\""), "box").unwrap();
        let says = format!("`{}` is not supported by this release yet", key.name);
        assert_eq!(problems[0].message, says);
        match harmless {
            Harmless::Nothing => continue,
            Harmless::Text(text) => accepted(&with(key.name, &format!("\"{text}\""))),
            Harmless::EmptyList => accepted(&with(key.name, "[]")),
            Harmless::EmptyTable => accepted(&with(key.name, "{}")),
        };
    }
}

#[test]
fn every_default_is_one_that_may_be_written_down() {
    for key in KEYS {
        let value = match key.standard {
            Standard::Text(text) => format!("\"{text}\""),
            Standard::Whole(number) => number.to_string(),
            Standard::Flag(flag) => flag.to_string(),
            Standard::Required | Standard::Nothing | Standard::Said(_) => continue,
        };
        let without = read(
            &with(key.name, "").replace(&format!("{} = \n", key.name.replace("NAME", "a")), ""),
            "box",
        )
        .unwrap();
        assert_eq!(read(&with(key.name, &value), "box").unwrap(), without, "{}", key.name);
    }
}

#[test]
fn the_documentation_says_what_the_code_does() {
    let documentation = include_str!("../../../docs/configuration.md");
    for (section, table) in tables() {
        assert!(documentation.contains(&table), "docs/configuration.md, `{section}`:\n{table}");
    }
    let rows = documentation.lines().filter(|line| line.starts_with("| `"));
    assert_eq!(rows.count(), KEYS.len(), "docs/configuration.md has rows that are no keys");
}

#[test]
fn the_example_of_the_documentation_is_accepted() {
    let documentation = include_str!("../../../docs/configuration.md");
    let examples: Vec<_> = documentation.split("```toml\n").skip(1).collect();
    assert!(!examples.is_empty());
    for example in examples {
        accepted(example.split("```").next().unwrap_or_default());
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*") {
        let _ = (strict(&text, "c", &text), lenient(&text, "box"));
    }

    #[test]
    fn no_value_of_any_key_panics(at in 0..KEYS.len(), value in "\"[^\"\\\\\\p{C}]{0,12}\"|(0|-?[1-9][0-9]{0,19})|\\[(\"a\",|1,){0,3}\\]|true|\\{\\}") {
        let text = with(KEYS[at].name, &value);
        let (settings, _) = lenient(&text, "box").unwrap();
        prop_assert!(!settings.host.is_empty());
    }

    #[test]
    fn no_password_is_repeated(user in "[a-z]{0,8}", host in "\\PC{0,12}") {
        let text = format!("[source]\nurl = '''https://{user}:s3cr3t@{host}'''\n");
        if let Err(failures) = check(&text, "c", "box") {
            for failure in failures {
                prop_assert!(!failure.to_string().contains("s3cr3t"), "{}", failure);
            }
        }
    }
}
