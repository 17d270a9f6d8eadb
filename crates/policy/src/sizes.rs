//! Sizes (`64MiB`) and durations (`30m`): a whole number with a unit, never zero, never more than fits.

use std::time::Duration;

use crate::diagnostic::Invalid;

const SIZES: &[(&str, u64)] =
    &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];
const DURATIONS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Reads a size in bytes.
pub(crate) fn size(text: &str) -> Result<u64, Invalid> {
    let bytes = number(text, SIZES, "a size", "64MiB")?;
    // The kernel's sizes are signed (off_t); a larger one would come out negative there.
    if i64::try_from(bytes).is_err() {
        return Err(too_large(text));
    }
    Ok(bytes)
}

/// Reads a duration.
pub(crate) fn duration(text: &str) -> Result<Duration, Invalid> {
    number(text, DURATIONS, "a duration", "30m").map(Duration::from_millis)
}

fn number(text: &str, units: &[(&str, u64)], what: &str, example: &str) -> Result<u64, Invalid> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at_checked(digits).unwrap_or(("", text));
    let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
    let invalid = |why: &str| {
        Invalid::new(format!("`{text}` is not {what}: {why}"))
            .help(format!("write a whole number and one of {}, such as `{example}`", names.join(", ")))
    };
    if count.is_empty() {
        return Err(invalid(if text.starts_with('-') {
            "it is negative"
        } else {
            "it does not start with a digit"
        }));
    }
    if unit.is_empty() {
        return Err(invalid("the unit is missing"));
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(invalid("the unit is not known"));
    };
    let product = count.parse::<u64>().ok().and_then(|count| count.checked_mul(*factor));
    match product {
        Some(0) => Err(invalid("it is zero, with which nothing could run")),
        Some(value) => Ok(value),
        None => Err(too_large(text)),
    }
}

fn too_large(text: &str) -> Invalid {
    Invalid::new(format!("`{text}` is more than fits into 63 bits")).help("leave the key out to set no bound")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_ones() {
        assert_eq!(size("4GiB"), Ok(4 << 30));
        assert_eq!(size("1B"), Ok(1));
        assert_eq!(size("8388607TiB"), Ok(8_388_607 << 40));
        assert_eq!(duration("30m"), Ok(Duration::from_secs(1800)));
        assert_eq!(duration("5ms"), Ok(Duration::from_millis(5)));
    }

    #[test]
    fn invalid_ones_say_why() {
        for (text, why) in [
            ("99999999999GiB", "63 bits"),
            ("8388608TiB", "63 bits"),
            ("99999999999999999999999B", "63 bits"),
            ("-5GiB", "negative"),
            ("0MiB", "zero"),
            ("10", "unit is missing"),
            ("10GB", "unit is not known"),
            ("10 MiB", "unit is not known"),
            ("1.5GiB", "unit is not known"),
            ("", "does not start"),
            ("GiB", "does not start"),
            ("١GiB", "does not start"),
        ] {
            assert!(size(text).unwrap_err().message.contains(why), "{text}: {:?}", size(text));
        }
        for text in ["-5s", "0s", "5", "5 min", "1y", ""] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
