//! Turns HTTP requests into parameters, and answers and refusals into HTTP replies.

use std::collections::BTreeMap;

use bb_lab_kit::http::{Cut, Reply, Request};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::auth::Credentials;
use crate::refusal::{Answer, Refusal};
use crate::routes::Out;
use crate::schema::{Raw, RawParams};

/// Bytes a body may have.
pub(crate) const BODY_LIMIT: usize = 512 << 10;

/// How the answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    /// Status 200 always, the real one in the body.
    ExtJs,
}

/// Splits `/api2/json/REST` and decodes the rest.
///
/// # Errors
/// 501 for a form the proxy does not know.
pub(crate) fn split_path(path: &str) -> Answer<(Form, String)> {
    let rest = path
        .trim_start_matches('/')
        .strip_prefix("api2")
        .unwrap_or_default();
    let rest = rest.trim_start_matches('/');
    let (form, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let decoded = percent_decode_str(rest).decode_utf8_lossy().into_owned();
    let kept = decoded.trim_matches('/').to_owned();
    match form {
        "json" => Ok((Form::Json, format!("/{kept}"))),
        "extjs" => Ok((Form::ExtJs, format!("/{kept}"))),
        "" => Err(Refusal::bare(501, format!("no such file '{path}'"))),
        other => Err(Refusal::bare(
            501,
            format!("no formatter for uri /{kept}, {other}"),
        )),
    }
}

/// What a request says about who makes it.
pub(crate) fn credentials(request: &Request) -> Credentials {
    let header = |name: &str| request.header(name).map(str::to_owned);
    let cookie = header("cookie").and_then(|cookies| {
        let mut all = cookies.split(';').map(str::trim);
        let ticket = all.find_map(|c| c.strip_prefix("PVEAuthCookie="))?;
        Some(percent_decode_str(ticket).decode_utf8_lossy().into_owned())
    });
    Credentials {
        authorization: header("authorization"),
        ticket: cookie,
        csrf: header("csrfpreventiontoken"),
    }
}

fn add(out: &mut RawParams, key: String, value: String) {
    out.entry(key)
        .and_modify(|held| *held = Raw::Many)
        .or_insert(Raw::One(value));
}

fn add_form(out: &mut RawParams, text: &str) {
    for pair in text.split('&').filter(|p| !p.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode = |s: &str| {
            let spaced = s.replace('+', " ");
            percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
        };
        add(out, decode(key), decode(value));
    }
}

/// The parameters of a request: query, form or JSON.
///
/// # Errors
/// The proxy's own refusals of bodies it cannot read, with an empty body.
pub(crate) fn parameters(request: &Request) -> Answer<RawParams> {
    let mut out = BTreeMap::new();
    add_form(&mut out, &request.query);
    if request.body.is_empty() {
        return Ok(out);
    }
    if request.method == "DELETE" || request.method == "GET" {
        let text = format!("Unexpected content for method '{}'", request.method);
        return Err(Refusal::bare(501, text));
    }
    let kind = request
        .header("content-type")
        .unwrap_or("application/x-www-form-urlencoded");
    let body = String::from_utf8_lossy(&request.body).into_owned();
    match kind.split(';').next().unwrap_or_default().trim() {
        "application/x-www-form-urlencoded" => add_form(&mut out, &body),
        "application/json" => add_json(&mut out, &body)?,
        other => {
            let text = format!("upload 'Content-Type '{other}' not implemented");
            return Err(Refusal::bare(506, text));
        }
    }
    Ok(out)
}

fn add_json(out: &mut RawParams, body: &str) -> Answer<()> {
    let at = "at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line";
    let value: Value = serde_json::from_str(body).map_err(|error| {
        Refusal::bare(
            500,
            format!(
                "malformed JSON string, neither tag, array, object, number, string or atom, at \
                 character offset {} (before \"(end of string)\") {at} 934.",
                error.column()
            ),
        )
    })?;
    let Value::Object(map) = value else {
        return Err(Refusal::bare(
            500,
            format!("Not a HASH reference {at} 978."),
        ));
    };
    for (key, value) in map {
        let raw = match value {
            Value::Null => Raw::Null,
            Value::Bool(b) => Raw::One(u8::from(b).to_string()),
            Value::String(text) => Raw::One(text),
            Value::Array(all) => {
                let words = all.iter().map(|v| match v {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                });
                Raw::One(words.collect::<Vec<_>>().join(","))
            }
            other => Raw::One(other.to_string()),
        };
        out.insert(key, raw);
    }
    Ok(())
}

const JSON: &str = "application/json;charset=UTF-8";

/// An answer as a reply.
pub(crate) fn answered(out: Out) -> Reply {
    match out {
        Out::Data(data) => plain(200, JSON, json!({ "data": data }).to_string()),
        Out::Total(data, total) => plain(
            200,
            JSON,
            json!({ "data": data, "total": total }).to_string(),
        ),
        Out::Text(text) => plain(200, "text/plain", text),
    }
}

/// A refusal as a reply; every one closes the connection.
pub(crate) fn refused(refusal: &Refusal, form: Form) -> Reply {
    if form == Form::ExtJs && !refusal.bare {
        let mut body = refusal.body().unwrap_or_default();
        body["success"] = json!(0);
        body["status"] = json!(refusal.status);
        return plain(200, JSON, body.to_string());
    }
    let mut reply = match refusal.body() {
        Some(body) => plain(refusal.status, JSON, body.to_string()),
        None => plain(refusal.status, "text/plain", String::new()),
    };
    reply.reason = Some(refusal.reason.clone());
    reply
        .headers
        .push(("connection".to_owned(), "close".to_owned()));
    reply
}

fn plain(status: u16, kind: &str, body: String) -> Reply {
    Reply {
        status,
        reason: None,
        headers: vec![
            ("content-type".to_owned(), kind.to_owned()),
            ("server".to_owned(), "pve-api-daemon/3.0".to_owned()),
            ("pragma".to_owned(), "no-cache".to_owned()),
        ],
        body: body.into(),
        cut: Cut::No,
    }
}

/// The reply to a body that is too large.
pub(crate) fn too_large() -> Reply {
    refused(&Refusal::bare(501, "for data too large"), Form::Json)
}

/// Parameters for the journal, with what is secret masked.
pub(crate) fn masked(raw: &RawParams) -> Value {
    const SECRET: &[&str] = &[
        "password",
        "cipassword",
        "otp",
        "lock-token",
        "tfa-challenge",
    ];
    let show = |(key, value): (&String, &Raw)| {
        let value = match value {
            _ if SECRET.contains(&key.as_str()) => json!("<hidden>"),
            Raw::One(text) => json!(text),
            Raw::Many => json!("<several>"),
            Raw::Null => Value::Null,
        };
        (key.clone(), value)
    };
    Value::Object(raw.iter().map(show).collect())
}
