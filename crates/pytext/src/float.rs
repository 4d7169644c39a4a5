//! Floats as Python writes them.
//!
//! In: an `f64`. Out: the text of `repr(x)` or `"%.2f" % x`, appended to a byte buffer. Promises the very text of
//! `CPython`: the shortest digits that read back as the same float, an exponent form (sign and at least two digits)
//! below 1e-4 and from 1e16 on, `.0` on integral floats, the sign of `-0.0`.

/// Appends `repr(value)`: `3.0`, `586.85`, `4.36e-05`, `1e+16`, `-0.0`, `nan`, `inf`.
#[inline]
pub fn write_repr(value: f64, out: &mut Vec<u8>) {
    if !value.is_finite() {
        out.extend_from_slice(non_finite(value));
        return;
    }
    let mut buffer = ryu::Buffer::new();
    let shortest = buffer.format_finite(value).as_bytes();
    if value == 0.0 || (1e-4..1e16).contains(&value.abs()) {
        out.extend_from_slice(shortest); // the range in which both write plain decimals
    } else {
        write_scientific(shortest, out);
    }
}

/// The text of `repr(value)`.
#[must_use]
pub fn repr(value: f64) -> String {
    let mut out = Vec::with_capacity(24);
    write_repr(value, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Appends `"%.2f" % value`: rounded correctly on the exact binary value, a tie to the even digit; `-0.00` is kept.
pub fn format_2f(value: f64, out: &mut Vec<u8>) {
    if value.is_finite() {
        out.extend_from_slice(format!("{value:.2}").as_bytes());
    } else {
        out.extend_from_slice(non_finite(value));
    }
}

fn non_finite(value: f64) -> &'static [u8] {
    match value {
        f64::INFINITY => b"inf",
        f64::NEG_INFINITY => b"-inf",
        _ => b"nan",
    }
}

/// Writes the digits of `shortest`, which may stand in any notation, as `d.ddde±XX`.
fn write_scientific(shortest: &[u8], out: &mut Vec<u8>) {
    let mut digits = [0_u8; 24];
    let mut num_digits = 0;
    let mut exponent = -1; // of the first digit, counted on from "0.ddd"
    let mut written_exponent = 0;
    let mut seen_point = false;
    let mut rest = shortest.iter();
    while let Some(&byte) = rest.next() {
        match byte {
            b'-' => out.push(b'-'),
            b'.' => seen_point = true,
            b'e' | b'E' => {
                let text = std::str::from_utf8(rest.as_slice()).unwrap_or_default();
                written_exponent = text.parse::<i32>().unwrap_or_default();
                break;
            }
            b'0' if num_digits == 0 => exponent -= i32::from(seen_point),
            _ => {
                exponent += i32::from(!seen_point);
                if let Some(digit) = digits.get_mut(num_digits) {
                    *digit = byte;
                    num_digits += 1;
                }
            }
        }
    }
    exponent += written_exponent;
    while num_digits > 1 && digits[num_digits - 1] == b'0' {
        num_digits -= 1;
    }
    out.push(digits[0]);
    if num_digits > 1 {
        out.push(b'.');
        out.extend_from_slice(&digits[1..num_digits]);
    }
    out.push(b'e');
    out.push(if exponent < 0 { b'-' } else { b'+' });
    if exponent.abs() < 10 {
        out.push(b'0');
    }
    out.extend_from_slice(itoa::Buffer::new().format(exponent.abs()).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    // Each expectation is what Python 3.13 prints.
    #[rstest]
    #[case(0.0, "0.0")]
    #[case(-0.0, "-0.0")]
    #[case(3.0, "3.0")]
    #[case(586.85, "586.85")]
    #[case(4.36e-5, "4.36e-05")]
    #[case(0.0001, "0.0001")]
    #[case(-0.000_123_45, "-0.00012345")]
    #[case(9.999e-5, "9.999e-05")]
    #[case(1e16, "1e+16")]
    #[case(1e15, "1000000000000000.0")]
    #[case(9_999_999_999_999_998.0, "9999999999999998.0")]
    #[case(-1.5e17, "-1.5e+17")]
    #[case(-1e16, "-1e+16")]
    #[case(12_345_678_901_234_568.0, "1.2345678901234568e+16")]
    #[case(1e22, "1e+22")]
    #[case(1e23, "1e+23")]
    #[case(0.000_123_4, "0.0001234")]
    #[case(0.00001, "1e-05")]
    #[case(-0.000_012, "-1.2e-05")]
    #[case(1.5e-10, "1.5e-10")]
    #[case(1.234_567_890_123_456_7e100, "1.2345678901234567e+100")]
    #[case(5e-324, "5e-324")]
    #[case(f64::MAX, "1.7976931348623157e+308")]
    #[case(f64::MIN_POSITIVE, "2.2250738585072014e-308")]
    #[case(f64::NAN, "nan")]
    #[case(f64::INFINITY, "inf")]
    #[case(f64::NEG_INFINITY, "-inf")]
    // Of two shortest texts that are equally near, the even one.
    #[case(839_963_591_157_338.0 + 0.25, "839963591157338.2")]
    #[case(562_949_953_421_312.0 + 0.75, "562949953421312.8")]
    fn floats_are_written_as_python_writes_them(#[case] value: f64, #[case] expected: &str) {
        assert_eq!(repr(value), expected);
    }

    #[rstest]
    #[case(0.125, "0.12")]
    #[case(0.375, "0.38")]
    #[case(2.675, "2.67")]
    #[case(0.005, "0.01")]
    #[case(0.015, "0.01")]
    #[case(-0.001, "-0.00")]
    #[case(-0.0, "-0.00")]
    #[case(1e22, "10000000000000000000000.00")]
    #[case(f64::INFINITY, "inf")]
    fn two_places_are_rounded_on_the_binary_value(#[case] value: f64, #[case] expected: &str) {
        let mut out = Vec::new();
        format_2f(value, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    /// Like `naive`, but where two shortest texts are equally near, the standard library takes the upper one and
    /// Python the even one.
    fn follows_the_rule(text: &str, value: f64) -> bool {
        let naive = naive(value);
        let last_digit = |text: &str| text.bytes().rfind(u8::is_ascii_digit);
        text == naive
            || (value.abs() < 1e16
                && text.len() == naive.len()
                && text[..text.len() - 1] == naive[..naive.len() - 1]
                && last_digit(text).is_some_and(|digit| digit % 2 == 0)
                && last_digit(text).map(|digit| digit + 1) == last_digit(&naive))
    }

    /// Python's rule, spelled out over the digits of the standard library.
    fn naive(value: f64) -> String {
        let scientific = format!("{value:e}");
        let (mantissa, exponent) = scientific.split_once('e').unwrap();
        let exponent: i32 = exponent.parse().unwrap();
        if (-4..16).contains(&exponent) || value == 0.0 {
            let fixed = format!("{value}");
            if fixed.contains('.') { fixed } else { fixed + ".0" }
        } else {
            format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
        }
    }

    proptest! {
        #[test]
        fn any_bits_are_written_by_the_rule_and_read_back(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let text = repr(value);
            prop_assert!(follows_the_rule(&text, value), "{} {}", text, naive(value));
            prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), bits);
        }

        #[test]
        fn values_near_the_change_of_notation_follow_the_rule(digits in 1_u64..100_000_000_000_000_000, exponent in -24_i32..4) {
            let value: f64 = format!("{digits}e{exponent}").parse().unwrap();
            prop_assert!(follows_the_rule(&repr(value), value), "{}", repr(value));
        }
    }
}
