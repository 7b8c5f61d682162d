//! One token: its signature, and when and for whom it holds.

use jsonwebtoken::{Validation, decode, decode_header, errors::ErrorKind};
use serde_json::{Map, Value};

use super::{
    claims::{Claims, Refusal},
    keys::Keys,
    settings::Tokens,
};

/// Checks a token.
pub(crate) fn verify(token: &str, keys: &Keys, settings: &Tokens) -> Result<Claims, Refusal> {
    let header = decode_header(token).map_err(|_| Refusal("the token is not one that is known here"))?;
    let is_of_calls = |kind: &String| kind.eq_ignore_ascii_case("jwt") || kind.eq_ignore_ascii_case("at+jwt");
    if !header.typ.as_ref().is_none_or(is_of_calls) || header.crit.is_some() {
        return Err(Refusal("the token is of a kind that is not known here"));
    }
    let mut validation = Validation::new(header.alg);
    validation.leeway = settings.leeway.as_secs();
    validation.validate_nbf = true;
    validation.validate_aud = !settings.audience.is_empty();
    let mut required = vec!["exp"];
    if !settings.audience.is_empty() {
        validation.aud = Some(settings.audience.iter().cloned().collect());
        required.push("aud");
    }
    if let Some(issuer) = &settings.issuer {
        validation.set_issuer(&[issuer]);
        required.push("iss");
    }
    validation.set_required_spec_claims(&required);
    let mut refusal = Refusal("no key that is known here may have signed the token");
    for key in keys.fitting(header.kid.as_deref(), header.alg) {
        match decode::<Map<String, Value>>(token, &key.key, &validation) {
            Ok(data) => return Ok(Claims::new(data.claims)),
            Err(error) => refusal = refusal_of(error.kind()),
        }
        // Another key may have signed it, but what a good signature covers does not change.
        if refusal != SIGNATURE {
            break;
        }
    }
    Err(refusal)
}

const SIGNATURE: Refusal = Refusal("the signature of the token is wrong");

fn refusal_of(kind: &ErrorKind) -> Refusal {
    match kind {
        ErrorKind::InvalidSignature => SIGNATURE,
        ErrorKind::ExpiredSignature => Refusal("the token has expired"),
        ErrorKind::ImmatureSignature => Refusal("the token does not hold yet"),
        ErrorKind::InvalidIssuer => Refusal("the token is of another issuer"),
        ErrorKind::InvalidAudience => Refusal("the token is for another audience"),
        ErrorKind::MissingRequiredClaim(_) => Refusal("the token lacks a claim"),
        _ => Refusal("the token is not valid"),
    }
}
