// SPDX-License-Identifier: MIT OR Apache-2.0
//! `GET /metrics` by HTTP, for `curl --unix-socket` and scrapers: one request a connection.

/// The answer to a request with this head.
pub(super) fn answer(head: &[u8], metrics: impl FnOnce() -> String) -> Vec<u8> {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or(head);
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let is_http = version.is_some_and(|version| version.starts_with(b"HTTP/1."));
    let (status, text) = match (method, target) {
        _ if !is_http || words.next().is_some() => ("400 Bad Request", "not HTTP/1\n".into()),
        (Some(b"GET"), Some(b"/metrics")) => ("200 OK", metrics()),
        (Some(b"GET"), _) => ("404 Not Found", "there is /metrics only\n".into()),
        _ => ("405 Method Not Allowed", "there is GET only\n".into()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        text.len()
    );
    [head, text].concat().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_answered_by_their_first_line() {
        for (head, status) in [
            ("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "200"),
            ("GET /metrics HTTP/1.0\r\n\r\n", "200"),
            ("GET / HTTP/1.1\r\n\r\n", "404"),
            ("GET /metrics/../x HTTP/1.1\r\n\r\n", "404"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
            ("GET /metrics HTTP/2\r\n\r\n", "400"),
            ("GET /metrics\r\n\r\n", "400"),
            ("GET /metrics HTTP/1.1 x\r\n\r\n", "400"),
            ("PRI\r\n\r\n", "400"),
        ] {
            let answer = answer(head.as_bytes(), || "a 1\n".into());
            let answer = String::from_utf8(answer).unwrap();
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{answer}"
            );
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("Content-Length: {}", body.len())));
        }
    }
}
