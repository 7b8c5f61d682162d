//! Bearer tokens: who has to bring one, what it has to say, and what of it reaches a service.

#[cfg(not(feature = "tokens"))]
mod absent;
mod claims;
mod file;
#[cfg(feature = "tokens")]
mod keys;
mod settings;
#[cfg(test)]
mod tests;
#[cfg(feature = "tokens")]
mod token;

use http::{HeaderMap, StatusCode, header};
use tonic::{
    Code,
    metadata::{AsciiMetadataKey, MetadataMap, MetadataValue},
};

#[cfg(not(feature = "tokens"))]
use self::absent::{Keys, verify};
pub(crate) use self::{
    claims::Claims,
    settings::{Tokens, tokens},
};
use self::{claims::Refusal, file::KeyFile};
#[cfg(all(feature = "tokens", any(test, feature = "fuzzing")))]
pub(crate) use self::{keys::Keys, token::verify};
#[cfg(all(feature = "tokens", not(any(test, feature = "fuzzing"))))]
use self::{keys::Keys, token::verify};
use crate::{fault::Fault, find::Destination};

/// The longest token in bytes.
const LENGTH_MAX: usize = 8192;

/// Checks the tokens of requests.
#[derive(Debug)]
pub(crate) struct Guard {
    settings: Tokens,
    file: KeyFile,
}

/// What a request brought.
pub(crate) type Brought = Result<Claims, Fault>;

impl Guard {
    pub(crate) fn new(settings: &Tokens) -> Self {
        Self {
            file: KeyFile::new(&settings.keys),
            settings: settings.clone(),
        }
    }

    /// Whether nothing can be reached without a token, be it only to hear that it is not there.
    pub(crate) fn is_closed(&self) -> bool {
        self.settings.open.is_empty()
    }

    /// What `headers` bring: the claims of a token that holds, or the answer to a request that needed one.
    pub(crate) async fn claims(&self, headers: &HeaderMap) -> Brought {
        let token = bearer(headers)?;
        let keys = self.file.keys().await.map_err(|reason| {
            tracing::error!(reason, "tokens cannot be checked");
            Fault::new(
                StatusCode::SERVICE_UNAVAILABLE,
                Code::Unavailable,
                "tokens cannot be checked at present",
            )
        })?;
        let verified = verify(token, &keys, &self.settings);
        verified.map_err(|refusal| unauthenticated(Some(refusal)))
    }

    /// Whether what was brought is enough for where the request goes; gives the claims if there are any.
    pub(crate) fn admit(&self, brought: Brought, to: &Destination<'_>) -> Result<Option<Claims>, Fault> {
        let parent = to.route.method.parent_service();
        let (kind, method) = (parent.full_name(), to.route.method.name());
        if self.settings.is_open(&to.route.service, kind, method) {
            return Ok(brought.ok());
        }
        let claims = brought?;
        let missing = self
            .settings
            .scopes_of(&to.route.service, kind, method)
            .find(|scope| !claims.has_scope(scope));
        match missing {
            Some(scope) => Err(Fault::new(
                StatusCode::FORBIDDEN,
                Code::PermissionDenied,
                "the token does not permit this call",
            )
            .challenge(format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\""))),
            None => Ok(Some(claims)),
        }
    }

    /// Sets the metadata that claims become. What a request said under such a name is gone in any case.
    ///
    /// # Errors
    ///
    /// When a claim has what metadata cannot have.
    pub(crate) fn forward(&self, claims: Option<&Claims>, metadata: &mut MetadataMap) -> Result<(), Fault> {
        for (claim, name) in &self.settings.forward {
            metadata.remove(name.0.as_str());
            let Some(text) = claims.and_then(|claims| claims.text(claim)) else {
                continue;
            };
            let entry = AsciiMetadataKey::from_bytes(name.0.as_str().as_bytes())
                .ok()
                .zip(MetadataValue::try_from(text).ok());
            let Some((key, value)) = entry else {
                return Err(Fault::new(
                    StatusCode::FORBIDDEN,
                    Code::PermissionDenied,
                    "a claim of the token cannot be passed on: it is not plain ASCII",
                ));
            };
            metadata.insert(key, value);
        }
        Ok(())
    }
}

/// Reads the key file, to find at the start what would else be found at the first request.
///
/// # Errors
///
/// Why it cannot be used.
pub(crate) fn check_file(settings: &Tokens) -> Result<(), String> {
    file::read(&settings.keys).map(drop)
}

/// The token of a request.
fn bearer(headers: &HeaderMap) -> Result<&str, Fault> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (all.next(), all.next()) else {
        return Err(unauthenticated(None));
    };
    let text = value.to_str().ok().and_then(|text| text.split_once(' '));
    let token = text
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    match token {
        Some(token) if !token.is_empty() && token.len() <= LENGTH_MAX => Ok(token),
        Some(_) => Err(unauthenticated(Some(Refusal("the token is empty or too long")))),
        None => Err(unauthenticated(None)),
    }
}

fn unauthenticated(refusal: Option<Refusal>) -> Fault {
    let (message, challenge) = match refusal {
        Some(Refusal(reason)) => (
            reason,
            format!("Bearer error=\"invalid_token\", error_description=\"{reason}\""),
        ),
        None => ("the call needs a bearer token", "Bearer".to_owned()),
    };
    Fault::new(StatusCode::UNAUTHORIZED, Code::Unauthenticated, message).challenge(challenge)
}
