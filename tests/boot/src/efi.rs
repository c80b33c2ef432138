//! The EFI variables of a machine, read from the file that is its flash memory.
//!
//! The layout is that of EDK II's authenticated variable store: a header for each variable, with a
//! state that says whether it still counts, then its name in UTF-16 and its value.

/// The marks of a variable's header.
const START: [u8; 2] = [0xaa, 0x55];
/// Written and not deleted.
const ADDED: u8 = 0x3f;
const HEADER_BYTES: usize = 60;

/// The value of a variable that counts, by its name; none of that name, none.
///
/// Vendors are not looked at: the loader interface's names are its own.
pub fn variable(flash: &[u8], name: &str) -> Option<Vec<u8>> {
    let wanted: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    let size = |at: usize| -> Option<usize> {
        let bytes = flash.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    (0..flash.len().saturating_sub(HEADER_BYTES)).step_by(4).find_map(|at| {
        if flash[at..at + 2] != START || flash[at + 2] != ADDED {
            return None;
        }
        let (name_bytes, value_bytes) = (size(at + 36)?, size(at + 40)?);
        let name_at = at + HEADER_BYTES;
        let value_at = name_at.checked_add(name_bytes)?;
        (flash.get(name_at..value_at)? == wanted)
            .then(|| flash.get(value_at..value_at.checked_add(value_bytes)?))?
            .map(<[u8]>::to_vec)
    })
}

/// The text of a variable whose value is UTF-16 with a zero at its end.
pub fn text(flash: &[u8], name: &str) -> Option<String> {
    let value = variable(flash, name)?;
    let units: Vec<u16> =
        value.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    Some(String::from_utf16_lossy(&units).trim_end_matches('\0').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(state: u8, name: &str, value: &str) -> Vec<u8> {
        let wide = |text: &str| -> Vec<u8> {
            text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
        };
        let (name, value) = (wide(name), wide(value));
        let mut bytes = vec![0; HEADER_BYTES];
        bytes[..3].copy_from_slice(&[START[0], START[1], state]);
        for (at, length) in [(36, name.len()), (40, value.len())] {
            bytes[at..at + 4].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
        }
        bytes.extend(name);
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0xff);
        bytes
    }

    #[test]
    fn a_variable_that_was_deleted_does_not_count() {
        let flash = [
            vec![0xff; 72],
            record(0x3c, "LoaderEntryOneShot", "old.conf"),
            record(ADDED, "LoaderEntryDefault", "other.conf"),
            record(ADDED, "LoaderEntryOneShot", "new.conf"),
            vec![0xff; 100],
        ]
        .concat();
        assert_eq!(text(&flash, "LoaderEntryOneShot").as_deref(), Some("new.conf"));
        assert_eq!(text(&flash, "LoaderEntry"), None);
        assert_eq!(text(&flash[..120], "LoaderEntryOneShot"), None);
    }
}
