//! Punycode (RFC 3492, section 6.3), to name the A-label of a host that was written in another script.

/// The A-label of one label, in lower case; `None` where the arithmetic would overflow.
pub(crate) fn a_label(label: &str) -> Option<String> {
    let label = label.to_lowercase();
    if label.is_ascii() {
        return Some(label);
    }
    let encoded = encode(&label)?;
    Some(format!("xn--{encoded}"))
}

fn encode(label: &str) -> Option<String> {
    let basic: String = label.chars().filter(char::is_ascii).collect();
    let total = u32::try_from(label.chars().count()).ok()?;
    let basic_count = u32::try_from(basic.len()).ok()?;
    let mut encoded = basic;
    if basic_count > 0 {
        encoded.push('-');
    }
    let (mut code, mut delta, mut bias, mut handled) = (128_u32, 0_u32, 72_u32, basic_count);
    while handled < total {
        let next = label.chars().map(u32::from).filter(|character| *character >= code).min()?;
        delta = delta.checked_add((next - code).checked_mul(handled + 1)?)?;
        code = next;
        for character in label.chars().map(u32::from) {
            if character < code {
                delta = delta.checked_add(1)?;
            }
            if character == code {
                push_number(&mut encoded, delta, bias);
                bias = adapt(delta, handled + 1, handled == basic_count);
                delta = 0;
                handled += 1;
            }
        }
        delta = delta.checked_add(1)?;
        code += 1;
    }
    Some(encoded)
}

/// Writes a number with the variable thresholds of the current bias.
fn push_number(encoded: &mut String, mut number: u32, bias: u32) {
    let mut position = 36;
    loop {
        let threshold = position.min(bias + 26).saturating_sub(bias).max(1);
        if number < threshold {
            encoded.push(digit(number));
            return;
        }
        encoded.push(digit(threshold + (number - threshold) % (36 - threshold)));
        number = (number - threshold) / (36 - threshold);
        position += 36;
    }
}

fn digit(number: u32) -> char {
    char::from_digit(number + 10, 36)
        .or_else(|| char::from_digit(number.saturating_sub(26), 10))
        .unwrap_or('?')
}

fn adapt(delta: u32, handled: u32, first: bool) -> u32 {
    let mut delta = if first { delta / 700 } else { delta / 2 };
    delta += delta / handled;
    let mut bias = 0;
    while delta > 455 {
        delta /= 35;
        bias += 36;
    }
    bias + 36 * delta / (delta + 38)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_labels() {
        // From RFC 3492 section 7.1 and from the registries.
        for (label, expected) in [
            ("bücher", "xn--bcher-kva"),
            ("BÜCHER", "xn--bcher-kva"),
            ("münchen", "xn--mnchen-3ya"),
            ("почемужеонинеговорятпорусски", "xn--b1abfaaepdrnnbgefbadotcwatmq2g4l"),
            ("他们为什么不说中文", "xn--ihqwcrb4cv8a8dqg056pqjye"),
            ("plain", "plain"),
        ] {
            assert_eq!(a_label(label).as_deref(), Some(expected));
        }
    }
}
