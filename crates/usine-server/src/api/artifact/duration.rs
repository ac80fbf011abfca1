//! Durations in requests: `[DD ]HH:MM:SS[.ffffff]`, ISO 8601, or a number of seconds.

use serde_json::Value;

/// Most seconds taken: a hundred years.
const MAX: f64 = 100.0 * 366.0 * 86400.0;

const MESSAGE: &str = "Duration has wrong format. Use one of these formats instead: [DD] [HH:[MM:]]ss[.uuuuuu], \
                       P[nD]T[nH][nM][nS], or seconds";

/// Whole seconds of a duration; `None` for null.
pub(crate) fn seconds(value: &Value) -> Result<Option<i64>, String> {
    let seconds = match value {
        Value::Null => return Ok(None),
        Value::Number(number) => number.as_f64(),
        Value::String(text) => clock(text).or_else(|| iso(text)),
        _ => None,
    };
    match seconds {
        Some(seconds) if (0.0..=MAX).contains(&seconds) => Ok(Some(seconds as i64)),
        Some(_) => Err("A delay is from 0 to 100 years".to_owned()),
        None => Err(MESSAGE.to_owned()),
    }
}

/// `SS`, `MM:SS`, `HH:MM:SS`, after `DD ` if there are days.
fn clock(text: &str) -> Option<f64> {
    let (days, time) = text.trim().rsplit_once(' ').unwrap_or(("0", text.trim()));
    let days = number(days.trim_end_matches(" days,").trim_end_matches(" day,").trim_end_matches(" days"))?;
    let mut seconds = 0.0;
    let fields: Vec<_> = time.split(':').collect();
    if fields.len() > 3 {
        return None;
    }
    for field in fields {
        seconds = seconds * 60.0 + number(field)?;
    }
    Some(days * 86400.0 + seconds)
}

/// `PnWnDTnHnMnS`.
fn iso(text: &str) -> Option<f64> {
    let mut rest = text.trim().strip_prefix('P')?;
    if rest.is_empty() {
        return None;
    }
    let (mut seconds, mut in_time) = (0.0, false);
    while !rest.is_empty() {
        if let Some(time) = rest.strip_prefix('T') {
            if in_time || time.is_empty() {
                return None;
            }
            (rest, in_time) = (time, true);
            continue;
        }
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let amount = number(&rest[..end])?;
        let unit = match (in_time, rest[end..].chars().next()?) {
            (false, 'W') => 7.0 * 86400.0,
            (false, 'D') => 86400.0,
            (true, 'H') => 3600.0,
            (true, 'M') => 60.0,
            (true, 'S') => 1.0,
            _ => return None,
        };
        seconds += amount * unit;
        rest = &rest[end + 1..];
    }
    Some(seconds)
}

fn number(text: &str) -> Option<f64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    plain.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn all_three_forms_are_read() {
        for (value, expected) in [
            (json!(null), None),
            (json!(90), Some(90)),
            (json!(1.5), Some(1)),
            (json!("90"), Some(90)),
            (json!("01:30"), Some(90)),
            (json!("02:00:00.5"), Some(7200)),
            (json!("3 00:00:01"), Some(3 * 86400 + 1)),
            (json!("3 days, 00:00:01"), Some(3 * 86400 + 1)),
            (json!("P3DT2H"), Some(3 * 86400 + 7200)),
            (json!("P1W"), Some(7 * 86400)),
            (json!("PT90S"), Some(90)),
            (json!("PT1M"), Some(60)),
        ] {
            assert_eq!(seconds(&value), Ok(expected), "{value}");
        }
    }

    #[test]
    fn nothing_else_is() {
        for value in [
            json!(""),
            json!("soon"),
            json!("P"),
            json!("PT"),
            json!("P1M"),
            json!("P1H"),
            json!("1:2:3:4"),
            json!(":"),
            json!("-1"),
            json!(-1),
            json!([]),
            json!(true),
            json!("1e9"),
            json!("NaN"),
            json!(1e300),
            json!("P1DT1H1"),
            json!("P1é"),
        ] {
            assert!(seconds(&value).is_err(), "{value}");
        }
    }
}
