//! Turns the pure parts of the client into tables; what is sent is tested against a stand-in.

use super::*;

#[test]
fn nothing_under_the_api_itself_is_sent() {
    let off = [
        Op::set(["service", "https", "port", "8443"]),
        Op::set(Vec::<String>::new()),
        Op::delete(["service", "https"]),
        Op::delete(["service", "https", "api", "keys", "id", "a"]),
        Op::delete(["service"]),
        Op::delete(Vec::<String>::new()),
    ];
    for op in off {
        assert!(is_off_limits(&op), "{op}");
    }
    let fine = [
        Op::set(["service", "dhcp-server", "listen-interface", "br1"]),
        Op::delete(["service", "dhcp-server"]),
        Op::set(["vrf", "name", "https"]),
    ];
    for op in fine {
        assert!(!is_off_limits(&op), "{op}");
    }
}

#[test]
fn a_version_is_found_in_a_text_for_people() {
    let shown = "Version:          VyOS 1.5-rolling-202410220007\nRelease train:    current\n\nBuilt on: 00:07 UTC\n";
    assert_eq!(parse_version(shown), "1.5-rolling-202410220007");
    assert_eq!(parse_version("\n  Version : VyOS 1.5.0\n"), "1.5.0");
    assert_eq!(parse_version("Permission denied"), "");
}

#[test]
fn the_api_keys_of_the_router_do_not_leave_the_client() {
    let shown = serde_json::json!({"service": {"https": {"api": {"keys": {"id": {
        "a": {"key": "k1"}, "b": {}}}, "rest": {}}}}});
    let kept = without_keys(shown).to_string();
    assert!(
        !kept.contains("k1") && kept.contains("***") && kept.contains("\"b\":{}"),
        "{kept}"
    );
    assert_eq!(without_keys(json!({"vrf": {}})), json!({"vrf": {}}));
}
