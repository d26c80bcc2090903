//! Which [`Reason`] an error of TLS has. What to say about it belongs to `conn::tls`, which knows whose it was.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};

use super::Reason;

/// The reason where it is an error of TLS rather than of the socket under it.
pub(crate) fn tls_reason(error: &io::Error) -> Option<Reason> {
    Some(match error.get_ref()?.downcast_ref::<Error>()? {
        Error::InvalidCertificate(certificate) => of_its_certificate(certificate),
        Error::AlertReceived(alert) if is_about_ours(*alert) => Reason::TlsClientCertificate,
        _ => Reason::TlsProtocol,
    })
}

fn of_its_certificate(error: &CertificateError) -> Reason {
    match error {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => Reason::TlsExpired,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Reason::TlsName
        }
        // A bad signature is that of an authority with a trusted one's name; Other is how a self-signed certificate
        // comes that says of itself to be an authority.
        CertificateError::UnknownIssuer
        | CertificateError::BadSignature
        | CertificateError::Revoked
        | CertificateError::Other(_) => Reason::TlsUntrusted,
        _ => Reason::TlsProtocol,
    }
}

/// A server's alerts about a certificate, or a signature, are about the client's; it has seen no other.
/// (`handshake_failure` is one of them only where the server has asked for one: the handshake knows.)
fn is_about_ours(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Failure;

    fn reason(error: Error) -> Reason {
        Failure::from(io::Error::new(io::ErrorKind::InvalidData, error)).reason
    }

    #[test]
    fn tls_errors_are_told_apart_by_type() {
        assert_eq!(reason(CertificateError::Expired.into()), Reason::TlsExpired);
        assert_eq!(reason(CertificateError::NotValidYet.into()), Reason::TlsExpired);
        assert_eq!(reason(CertificateError::NotValidForName.into()), Reason::TlsName);
        assert_eq!(reason(CertificateError::UnknownIssuer.into()), Reason::TlsUntrusted);
        assert_eq!(reason(CertificateError::BadEncoding.into()), Reason::TlsProtocol);
        assert_eq!(reason(Error::DecryptError), Reason::TlsProtocol);
    }

    #[test]
    fn alerts_about_a_certificate_are_about_the_clients() {
        for (alert, expected) in [
            (AlertDescription::CertificateRequired, Reason::TlsClientCertificate),
            (AlertDescription::UnknownCA, Reason::TlsClientCertificate),
            (AlertDescription::CertificateExpired, Reason::TlsClientCertificate),
            (AlertDescription::HandshakeFailure, Reason::TlsProtocol),
            (AlertDescription::ProtocolVersion, Reason::TlsProtocol),
        ] {
            assert_eq!(reason(Error::AlertReceived(alert)), expected, "{alert:?}");
        }
    }
}
