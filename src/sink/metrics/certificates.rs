//! When a target's certificates expire, as series of the target.

use measure::{clock::unix_seconds, conn::TlsExpiry};

use super::{
    families::target,
    render::{Exposition, Owner},
};
use crate::config::Target;

/// What is known once a run has seen `now`: a handshake that did not come as far as a certificate says nothing new.
pub(super) fn known(before: TlsExpiry, now: TlsExpiry) -> TlsExpiry {
    TlsExpiry { server: now.server.or(before.server), client: now.client.or(before.client) }
}

/// What is still known with another plan: of our certificate what that says, of the server's what was seen.
pub(super) fn planned(before: TlsExpiry, target: &Target) -> TlsExpiry {
    target.endpoint.tls.as_ref().map_or_else(TlsExpiry::default, |tls| TlsExpiry {
        server: before.server,
        client: tls.expiry().client,
    })
}

/// Shows what is known.
pub(super) fn show<'a>(expiry: TlsExpiry, owner: &'a Owner, out: &mut Exposition<'a>) {
    for (def, expires) in [(&target::TLS_EXPIRY, expiry.server), (&target::TLS_CLIENT_EXPIRY, expiry.client)]
    {
        if let Some(expires) = expires {
            out.set(def, owner, [], unix_seconds(expires));
        }
    }
}
