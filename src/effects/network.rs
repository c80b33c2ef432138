//! Two local facts: is there a default route, and is there a resolver.

use std::fs;

/// Tells whether the kernel has a default route, of either family.
pub fn has_default_route() -> bool {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    has_route_4(&read("/proc/net/route")) || has_route_6(&read("/proc/net/ipv6_route"))
}

/// Tells whether `/etc/resolv.conf` names a server.
pub fn has_resolver() -> bool {
    fs::read_to_string("/etc/resolv.conf").is_ok_and(|text| names_server(&text))
}

/// Columns: interface, destination, gateway, flags, …, mask (the eighth).
fn has_route_4(table: &str) -> bool {
    table.lines().skip(1).any(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields.get(1) == Some(&"00000000") && fields.get(7) == Some(&"00000000")
    })
}

/// Columns: destination, prefix length, …, interface (the tenth). The kernel keeps an unreachable
/// default on `lo`.
fn has_route_6(table: &str) -> bool {
    table.lines().any(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let nowhere =
            |field: Option<&&str>| field.is_some_and(|text| text.bytes().all(|b| b == b'0'));
        nowhere(fields.first()) && nowhere(fields.get(1)) && fields.get(9) != Some(&"lo")
    })
}

fn names_server(text: &str) -> bool {
    text.lines().any(|line| line.trim_start().starts_with("nameserver"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_route_is_found_in_either_table() {
        let head = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n";
        assert!(has_route_4(&format!("{head}eth0 00000000 0101A8C0 0003 0 0 0 00000000 0 0 0\n")));
        assert!(!has_route_4(&format!("{head}eth0 0001A8C0 00000000 0001 0 0 0 00FFFFFF 0 0 0\n")));
        assert!(!has_route_4(head));
        let zero = "0".repeat(32);
        let line = |interface| format!("{zero} 00 {zero} 00 {zero} 1 1 0 3 {interface}\n");
        assert!(has_route_6(&line("eth0")));
        assert!(!has_route_6(&line("lo")));
    }

    #[test]
    fn a_resolver_is_a_line_that_names_a_server() {
        assert!(names_server("search x\nnameserver 9.9.9.9\n"));
        assert!(!names_server("# nameserver 9.9.9.9\n"));
    }
}
