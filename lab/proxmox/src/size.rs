//! Turns sizes as Proxmox writes them (`4608M`, `+1G`, `0.1`) into bytes and back.

/// Bytes of one KiB.
pub(crate) const KIB: u64 = 1 << 10;
/// Bytes of one GiB.
pub(crate) const GIB: u64 = 1 << 30;

/// Writes bytes with the largest unit that divides them, as `size=` of a disk reads.
pub(crate) fn render_size(bytes: u64) -> String {
    let mut value = bytes;
    let mut unit = "";
    for next in ["K", "M", "G", "T"] {
        if value == 0 || !value.is_multiple_of(1024) {
            break;
        }
        value /= 1024;
        unit = next;
    }
    format!("{value}{unit}")
}

/// Reads a number with an optional unit; without one it counts in `unit_bytes`.
///
/// `None` for anything else, such as `4Gi`.
pub(crate) fn parse_size(text: &str, unit_bytes: u64) -> Option<u64> {
    let (digits, unit) = match text.char_indices().last()? {
        (at, 'K') => (&text[..at], KIB),
        (at, 'M') => (&text[..at], KIB << 10),
        (at, 'G') => (&text[..at], GIB),
        (at, 'T') => (&text[..at], GIB << 10),
        _ => (text, unit_bytes),
    };
    scaled(digits, unit)
}

/// Reads a plain decimal number of `unit` bytes.
fn scaled(digits: &str, unit: u64) -> Option<u64> {
    if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return None;
    }
    if digits.starts_with('.') || digits.ends_with('.') {
        return None;
    }
    let number: f64 = digits.parse().ok()?;
    Some((number * unit as f64).ceil() as u64)
}

/// Bytes of a new disk asked for as `STORAGE:GIB`, rounded up to a KiB as QEMU guests get it.
pub(crate) fn disk_bytes(gib: f64) -> u64 {
    let kib = (gib * (GIB / KIB) as f64).ceil() as u64;
    kib * KIB
}

/// Bytes of a container's volume, which is counted in whole MiB.
pub(crate) fn container_bytes(gib: f64) -> u64 {
    let mib = (gib * 1024.0).floor() as u64;
    mib * KIB * KIB
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_back_as_the_product_writes_them() {
        assert_eq!(render_size(disk_bytes(0.1)), "104858K");
        assert_eq!(render_size(disk_bytes(2.0)), "2G");
        assert_eq!(render_size(GIB * 9 / 2), "4608M");
        assert_eq!(render_size(container_bytes(0.2)), "204M");
        assert_eq!(render_size(0), "0");
    }

    #[test]
    fn a_binary_suffix_is_no_unit() {
        assert_eq!(parse_size("4Gi", 1), None);
        assert_eq!(parse_size("1.5G", 1), Some(GIB * 3 / 2));
        assert_eq!(parse_size("1048576", KIB), Some(GIB));
    }
}
