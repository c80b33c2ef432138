//! Reading `grub.cfg` as NixOS writes it: entries, submenus, the default, and the block that boots
//! an entry once.
//!
//! What NixOS writes is in nixpkgs' `install-grub.pl`: the default first, then a submenu for each
//! profile, whose entries may be many. It is a script, and only what stands there plainly is
//! believed.

use super::init;
use crate::model::store_path::StorePath;

/// An entry of the menu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its submenus and itself, from outside to inside.
    pub way: Vec<Step>,
    /// What it starts.
    pub system: Option<StorePath>,
}

/// One step into the menu.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// How many menu entries and submenus stand before it in the same menu.
    pub place: usize,
    /// What people read.
    pub title: String,
}

/// What is started when nobody chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Default {
    /// The entry of this place or title.
    Named(String),
    /// The one that was started last: whatever is armed would stay.
    LastStarted,
    /// It cannot be told.
    Unknown,
}

/// What a `grub.cfg` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Menu {
    /// Every entry that starts something.
    pub entries: Vec<Entry>,
    /// What is started when nobody chooses, and nothing is armed.
    pub default: Default,
    /// It reads `next_entry`, and forgets it before it starts that.
    pub starts_once: bool,
}

/// What a brace closes.
enum Open {
    /// A menu entry, or a submenu.
    Menu(Step, Vec<usize>),
    /// A function or the like.
    Other,
}

/// Reads a `grub.cfg`.
pub fn parse(text: &str) -> Menu {
    let mut open: Vec<Open> = Vec::new();
    // How many steps there were so far, in each menu that is open.
    let mut counts = vec![0];
    let mut entries: Vec<Entry> = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(title) = title_of(line) {
            let place = counts.last().copied().unwrap_or_default();
            if let Some(count) = counts.last_mut() {
                *count += 1;
            }
            open.push(Open::Menu(Step { place, title }, std::mem::replace(&mut counts, vec![0])));
            if line.starts_with("menuentry") {
                entries.push(Entry { way: way(&open), system: None });
            }
        } else if line.ends_with('{') {
            open.push(Open::Other);
        } else if line == "}" {
            if let Some(Open::Menu(_, before)) = open.pop() {
                counts = before;
            }
        } else if let Some(system) = started_by(line)
            && let Some(entry) = entries.last_mut().filter(|entry| entry.way == way(&open))
        {
            entry.system = Some(system);
        }
    }
    Menu { entries, default: default(text), starts_once: starts_once(text) }
}

fn way(open: &[Open]) -> Vec<Step> {
    let step = |one: &Open| match one {
        Open::Menu(step, _) => Some(step.clone()),
        Open::Other => None,
    };
    open.iter().filter_map(step).collect()
}

/// The title of a `menuentry` or `submenu` that this line opens.
fn title_of(line: &str) -> Option<String> {
    let rest = line.strip_prefix("menuentry ").or_else(|| line.strip_prefix("submenu "))?;
    line.ends_with('{').then_some(())?;
    let rest = rest.trim_start();
    match rest.strip_prefix('\'') {
        Some(quoted) => Some(quoted.split_once('\'')?.0.to_owned()),
        None => in_quotes(rest.strip_prefix('"')?),
    }
}

/// The text up to the closing quote; a backslash takes the next character as it is.
fn in_quotes(text: &str) -> Option<String> {
    let mut title = String::new();
    let mut characters = text.chars();
    loop {
        match characters.next()? {
            '"' => return Some(title),
            '\\' => title.push(characters.next()?),
            // A variable: what it will be cannot be told.
            '$' => return None,
            plain => title.push(plain),
        }
    }
}

fn started_by(line: &str) -> Option<StorePath> {
    let command = line.split_whitespace().next()?;
    ["linux", "linux16", "linuxefi", "module", "module2"].contains(&command).then_some(())?;
    init(line)
}

/// The values that `default` is set to.
fn defaults(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter_map(|line| Some(line.trim().strip_prefix("set default=")?.trim_matches('"')))
}

const NEXT: &str = "${next_entry}";

fn default(text: &str) -> Default {
    let mut values = defaults(text).filter(|value| *value != NEXT);
    match (values.next(), values.next()) {
        (Some("${saved_entry}" | "saved"), None) => Default::LastStarted,
        (Some(value), None) if !value.contains('$') => Default::Named(value.to_owned()),
        _ => Default::Unknown,
    }
}

fn starts_once(text: &str) -> bool {
    let says = |wanted: &str| text.lines().any(|line| line.trim() == wanted);
    let asks = |line: &str| line.trim().starts_with("if [ \"${next_entry}\" ]");
    says("load_env")
        && text.lines().any(asks)
        && defaults(text).any(|value| value == NEXT)
        && says("set next_entry=")
        && says("save_env next_entry")
}

impl Menu {
    /// Returns the entry that a value of `default` or `next_entry` names: places or titles, with
    /// `>` between a submenu and what is in it.
    pub fn entry(&self, value: &str) -> Option<&Entry> {
        let steps: Vec<_> = split(value);
        let is = |(one, wanted): (&Step, &String)| match wanted.parse::<usize>() {
            Ok(place) => one.place == place,
            Err(_) => one.title == *wanted,
        };
        let mut found = self
            .entries
            .iter()
            .filter(|entry| entry.way.len() == steps.len() && entry.way.iter().zip(&steps).all(is));
        match (found.next(), found.next()) {
            (Some(only), None) => Some(only),
            _ => None,
        }
    }

    /// Returns the system that is started when nobody chooses.
    pub fn default_system(&self) -> Option<&StorePath> {
        match &self.default {
            Default::Named(value) => self.entry(value)?.system.as_ref(),
            Default::LastStarted | Default::Unknown => None,
        }
    }

    /// Returns a value of `next_entry` that starts `system`: by titles, which stay true when a
    /// condition in the script hides another entry.
    pub fn name_of(&self, system: &StorePath) -> Option<String> {
        let of_it = self.entries.iter().filter(|entry| entry.system.as_ref() == Some(system));
        of_it.map(Entry::name).find(|name| {
            let named = self.entry(name).and_then(|entry| entry.system.as_ref());
            named == Some(system)
        })
    }
}

impl Entry {
    fn name(&self) -> String {
        let titles: Vec<_> = self.way.iter().map(|step| step.title.replace('>', ">>")).collect();
        titles.join(">")
    }
}

/// Splits at `>`; two of them stand for one that is part of a title.
fn split(value: &str) -> Vec<String> {
    let mut steps = vec![String::new()];
    let mut characters = value.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '>' if characters.peek() != Some(&'>') => steps.push(String::new()),
            plain => {
                if plain == '>' {
                    characters.next();
                }
                if let Some(last) = steps.last_mut() {
                    last.push(plain);
                }
            }
        }
    }
    steps
}

#[cfg(test)]
pub(in crate::effects::bootloader) mod tests {
    use super::*;

    pub fn path(letter: char) -> StorePath {
        format!("/nix/store/{}-nixos-system-box", letter.to_string().repeat(32)).parse().unwrap()
    }

    fn entry(title: &str, system: char) -> String {
        format!(
            "menuentry \"{title}\" --class nixos --unrestricted {{\nsearch --set=drive1 --fs-uuid 1\n  \
             linux ($drive1)//kernels/k init={}/init loglevel=4\n  initrd ($drive1)//kernels/i\n}}\n\n",
            path(system)
        )
    }

    /// In the shape of what NixOS writes: `a` is the default, `b` has a profile of its own.
    pub fn nixos(default: &str) -> String {
        let once = "if [ -s $prefix/grubenv ]; then\n  load_env\nfi\n\
                    if [ \"${next_entry}\" ]; then\n  set default=\"${next_entry}\"\n  \
                    set next_entry=\n  save_env next_entry\n  set timeout=1\n  set boot_once=true\n\
                    else\n";
        let function = "function savedefault {\n    if [ -z \"${boot_once}\"]; then\n    \
                        saved_entry=\"${chosen}\"\n    save_env saved_entry\n    fi\n}\n";
        [
            once,
            &format!("  set default={default}\n  set timeout=5\nfi\n"),
            function,
            &entry("NixOS", 'a'),
            "submenu \"NixOS - All configurations\" --class submenu {\n",
            &entry("NixOS - Configuration 2 (2026-01-02 - 25.05)", 'a'),
            &entry("NixOS - Configuration 1 (2026-01-01 - 25.05)", 'c'),
            "}\n\nsubmenu \"NixOS - Profile 'autodeploy'\" --class submenu {\n",
            &entry("NixOS - Configuration 1 (2026-01-01 - 25.05)", 'b'),
            "}\n",
        ]
        .concat()
    }

    #[test]
    fn entries_are_found_in_their_submenus_by_their_init() {
        let menu = parse(&nixos("0"));
        let systems: Vec<_> = menu.entries.iter().map(|one| one.system.clone().unwrap()).collect();
        assert_eq!(systems, [path('a'), path('a'), path('c'), path('b')]);
        let places: Vec<Vec<_>> = menu
            .entries
            .iter()
            .map(|one| one.way.iter().map(|step| step.place).collect())
            .collect();
        assert_eq!(places, [vec![0], vec![1, 0], vec![1, 1], vec![2, 0]]);
    }

    #[test]
    fn a_name_leads_back_to_the_system_that_it_was_made_for() {
        let menu = parse(&nixos("0"));
        let name = menu.name_of(&path('b')).unwrap();
        assert_eq!(
            name,
            "NixOS - Profile 'autodeploy'>NixOS - Configuration 1 (2026-01-01 - 25.05)"
        );
        assert_eq!(menu.entry(&name).unwrap().system, Some(path('b')));
        assert_eq!(menu.entry("2>0").unwrap().system, Some(path('b')));
        assert_eq!(menu.entry("1>1").unwrap().system, Some(path('c')));
        // A submenu is no entry, and what is not there is nothing.
        assert_eq!((menu.entry("2"), menu.entry("7"), menu.entry("No such")), (None, None, None));
        assert_eq!(menu.name_of(&path('d')), None);
    }

    #[test]
    fn a_title_that_stands_twice_names_nothing() {
        let text = format!("{}{}", entry("same", 'a'), entry("same", 'b'));
        assert_eq!(parse(&text).name_of(&path('b')), None);
    }

    #[test]
    fn a_title_may_hold_quotes_and_the_sign_between_steps() {
        let menu = parse(&entry("a \\\"b\\\" > c", 'b'));
        assert_eq!(menu.entries[0].way[0].title, "a \"b\" > c");
        let name = menu.name_of(&path('b')).unwrap();
        assert_eq!(name, "a \"b\" >> c");
        assert_eq!(menu.entry(&name).unwrap().system, Some(path('b')));
    }

    #[track_caller]
    fn default(value: &str, expected: Option<char>) {
        let menu = parse(&nixos(value));
        assert_eq!(menu.default_system(), expected.map(path).as_ref(), "{value}");
    }

    #[test]
    fn the_default_is_what_is_set_plainly_and_nothing_else() {
        default("0", Some('a'));
        default("\"1>1\"", Some('c'));
        default("NixOS", Some('a'));
        default("1", None);
        default("\"${saved_entry}\"", None);
        default("$somewhere", None);
        assert_eq!(parse(&nixos("\"${saved_entry}\"")).default, Default::LastStarted);
        let twice = format!("{}set default=1\n", nixos("0"));
        assert_eq!(parse(&twice).default, Default::Unknown);
    }

    #[test]
    fn starting_once_needs_every_line_of_its_block() {
        let text = nixos("0");
        assert!(parse(&text).starts_once);
        for line in [
            "load_env",
            "if [ \"${next_entry}\" ]; then",
            "set default=\"${next_entry}\"",
            "set next_entry=",
            "save_env next_entry",
        ] {
            let without: Vec<_> = text.lines().filter(|one| one.trim() != line).collect();
            assert_eq!(without.len() + 1, text.lines().count(), "{line}");
            assert!(!parse(&without.join("\n")).starts_once, "{line}");
        }
    }
}
