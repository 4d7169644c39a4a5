//! The text of a float in the form of Python's `repr`, which the server uses.
//!
//! It is the shortest text that reads back as the same bits: fixed notation for exponents from -4 to 15, otherwise an exponent
//! with a sign and at least two digits; whole numbers end in `.0`, and zero keeps its sign.

/// Appends Python's `repr(value)`: `586.85`, `12.0`, `1e+16`, `4.36e-05`, `-0.0`.
///
/// Values that JSON lacks are written as in Python: `nan`, `inf`, `-inf`.
pub fn write_float(value: f64, out: &mut Vec<u8>) {
    if !value.is_finite() {
        let text: &[u8] = if value.is_nan() {
            b"nan"
        } else if value > 0.0 {
            b"inf"
        } else {
            b"-inf"
        };
        out.extend_from_slice(text);
        return;
    }
    let mut buffer = ryu::Buffer::new();
    let text = buffer.format_finite(value).as_bytes();
    let magnitude = value.abs();
    // Within these bounds ryu chooses the same notation as Python; below, it uses the fixed one for one more exponent.
    if (1e-4..1e16).contains(&magnitude) || magnitude == 0.0 {
        out.extend_from_slice(text);
    } else {
        write_scientific(text, out);
    }
}

/// Rewrites ryu's text, such as `1e16`, `4.36e-5` or `0.0000436`, in Python's scientific notation.
fn write_scientific(text: &[u8], out: &mut Vec<u8>) {
    let (mantissa, mut exponent) = match text.iter().position(|&byte| byte == b'e') {
        Some(at) => (&text[..at], read_exponent(&text[at + 1..])),
        None => (text, 0),
    };
    let unsigned = if let [b'-', rest @ ..] = mantissa {
        out.push(b'-');
        rest
    } else {
        mantissa
    };
    let whole_len = unsigned.iter().position(|&byte| byte == b'.').unwrap_or(unsigned.len());
    let mut digits = [0_u8; 32];
    let mut len = 0;
    for &byte in unsigned.iter().filter(|byte| byte.is_ascii_digit()) {
        digits[len] = byte;
        len += 1;
    }
    let leading = digits[..len].iter().take_while(|&&byte| byte == b'0').count();
    let trailing = digits[leading..len].iter().rev().take_while(|&&byte| byte == b'0').count();
    exponent += i32::try_from(whole_len).unwrap_or_default() - 1 - i32::try_from(leading).unwrap_or_default();
    if let [first, rest @ ..] = &digits[leading..len - trailing] {
        out.push(*first);
        if !rest.is_empty() {
            out.push(b'.');
            out.extend_from_slice(rest);
        }
    }
    out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
    if exponent.unsigned_abs() < 10 {
        out.push(b'0');
    }
    out.extend_from_slice(itoa::Buffer::new().format(exponent.unsigned_abs()).as_bytes());
}

fn read_exponent(text: &[u8]) -> i32 {
    let (negative, digits) = if let [b'-', rest @ ..] = text { (true, rest) } else { (false, text) };
    let size = digits.iter().fold(0, |number, byte| number * 10 + i32::from(byte - b'0'));
    if negative { -size } else { size }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text_of(value: f64) -> String {
        let mut out = Vec::new();
        write_float(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_is_that_of_python() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (3.0, "3.0"),
            (586.85, "586.85"),
            (131_781_774_506.0, "131781774506.0"),
            (1e15, "1000000000000000.0"),
            (9_007_199_254_740_992.0, "9007199254740992.0"),
            (9_999_999_999_999_998.0, "9999999999999998.0"),
            (1e16, "1e+16"),
            (-1e16, "-1e+16"),
            (1.2e16, "1.2e+16"),
            (12_345_678_901_234_568.0, "1.2345678901234568e+16"),
            (1e17, "1e+17"),
            (1e22, "1e+22"),
            (1e23, "1e+23"),
            (0.1, "0.1"),
            (0.0001, "0.0001"),
            (0.000_123_4, "0.0001234"),
            (0.000_099_99, "9.999e-05"),
            (0.000_043_6, "4.36e-05"),
            (0.00001, "1e-05"),
            (-0.000_012, "-1.2e-05"),
            (1e-7, "1e-07"),
            (1.5e-10, "1.5e-10"),
            (5e-324, "5e-324"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NAN, "nan"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(text_of(value), text);
        }
    }

    #[test]
    fn of_two_texts_equally_near_the_even_one_is_taken() {
        assert_eq!(text_of(839_963_591_157_338.0 + 0.25), "839963591157338.2");
        assert_eq!(text_of(562_949_953_421_312.0 + 0.75), "562949953421312.8");
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
            let text = text_of(value);
            prop_assert!(follows_the_rule(&text, value), "{} {}", text, naive(value));
            prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), bits);
        }

        #[test]
        fn values_near_the_change_of_notation_follow_the_rule(digits in 1_u64..100_000_000_000_000_000, exponent in -24_i32..4) {
            let value: f64 = format!("{digits}e{exponent}").parse().unwrap();
            prop_assert!(follows_the_rule(&text_of(value), value), "{}", text_of(value));
        }
    }
}
