//! Who may start or change something: the bearer token, a user of the web configuration, and what a browser must not be
//! made to do. A client's certificate lets in and allows nothing more: many a proxy has one.

use axum::http::{HeaderMap, header};
use measure::Effect;
use secrecy::ExposeSecret;
use subtle::ConstantTimeEq;

use super::{error::Error, listen::Peer};
use crate::config::Http;

/// Passes a user, and whoever shows the configured token, unless another site's page made the request.
///
/// # Errors
/// 403 where no token is configured or another site asks, 401 for a missing or wrong token.
pub(super) fn require(http: &Http, headers: &HeaderMap, peer: Peer) -> Result<(), Error> {
    refuse_cross_site(headers)?;
    if peer.user {
        return Ok(());
    }
    if http.api_token.is_none() {
        return Err(Error::forbidden(
            "this route needs a token or a user, and none is configured; set http.api_token_file or basic_auth_users in \
             http.web_config_file",
        ));
    }
    match bearer(headers) {
        Some(token) if is_right(http, token) => Ok(()),
        Some(_) => Err(wrong()),
        None => Err(Error::unauthorized("this route needs the header: Authorization: Bearer <token>")),
    }
}

/// The greatest effect that this request's sender may ask for by `GET /probe`: Touch with the token or as a user, else
/// Observe.
///
/// # Errors
/// 401 for a wrong token.
pub(super) fn probe_cap(http: &Http, headers: &HeaderMap, peer: Peer) -> Result<Effect, Error> {
    match bearer(headers) {
        _ if peer.user => Ok(Effect::Touch),
        Some(token) if http.api_token.is_some() => {
            if is_right(http, token) {
                Ok(Effect::Touch)
            } else {
                Err(wrong())
            }
        }
        _ => Ok(Effect::Observe),
    }
}

/// Passes who may have the configuration read again: a user, the token where one is configured, else this machine.
///
/// # Errors
/// As [`require`]; 403 for another machine where there is no token.
pub(super) fn require_for_reload(http: &Http, headers: &HeaderMap, peer: Peer) -> Result<(), Error> {
    if http.api_token.is_some() || peer.user {
        return require(http, headers, peer);
    }
    refuse_cross_site(headers)?;
    let forwarded = ["forwarded", "x-forwarded-for"].iter().any(|name| headers.contains_key(*name));
    if peer.address.ip().to_canonical().is_loopback() && !forwarded && names_this_machine(headers) {
        return Ok(());
    }
    Err(Error::forbidden(
        "without a token the configuration is reloaded only from this machine itself; set http.api_token_file",
    ))
}

/// Whether the configured token is shown.
pub(super) fn shows_token(http: &Http, headers: &HeaderMap) -> bool {
    bearer(headers).is_some_and(|token| is_right(http, token))
}

/// A page of another site can make a browser send requests here, with the login that it remembers; the browser says so.
fn refuse_cross_site(headers: &HeaderMap) -> Result<(), Error> {
    let from_here = match headers.get("sec-fetch-site").map(|value| value.as_bytes()) {
        None | Some(b"same-origin" | b"none") => true,
        Some(_) => false,
    };
    // Without TLS there is only this.
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let origin = text(header::ORIGIN).map(|origin| origin.split_once("://").map(|(_, host)| host));
    if from_here && origin.is_none_or(|origin| origin.is_some() && origin == text(header::HOST)) {
        Ok(())
    } else {
        Err(Error::forbidden("requests that another site's page made are refused"))
    }
}

/// A host name of somebody else that resolves to this machine makes another site's page look like ours.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let authority = host.parse::<axum::http::uri::Authority>().ok();
    authority.is_some_and(|authority| {
        let name = authority.host().trim_matches(['[', ']']);
        name == "localhost" || name.parse::<std::net::IpAddr>().is_ok()
    })
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

fn is_right(http: &Http, token: &[u8]) -> bool {
    http.api_token.as_ref().is_some_and(|wanted| wanted.expose_secret().as_bytes().ct_eq(token).into())
}

fn wrong() -> Error {
    Error::unauthorized("this is not the configured token")
}
