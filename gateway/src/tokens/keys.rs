//! The keys that sign tokens, each with the algorithms that it is for: a token does not choose how it is checked.

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde_json::Value;

/// The most keys of one file.
const KEYS_MAX: usize = 64;
/// The shortest public key of RSA: 2048 bits, as DER or as its modulus.
const RSA_LENGTH_MIN: usize = 256;
/// The shortest secret.
const SECRET_LENGTH_MIN: usize = 32;

const RSA: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];
const SECRET: [Algorithm; 3] = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];

/// The keys of a file.
pub(crate) struct Keys {
    keys: Vec<Key>,
}

/// One of them.
pub(crate) struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    pub(crate) key: DecodingKey,
}

impl Keys {
    /// Reads a public key as PEM, or a JWKS. An error says what is wrong.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?;
        let keys = if text.trim_start().starts_with('{') {
            of_jwks(text)?
        } else {
            vec![of_pem(text)?]
        };
        Ok(Self { keys })
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The keys that may have signed a token with this header.
    pub(crate) fn fitting(&self, id: Option<&str>, algorithm: Algorithm) -> impl Iterator<Item = &Key> {
        let fits = move |key: &&Key| {
            let is_named = match (id, &key.id) {
                (Some(id), Some(own)) => id == own,
                _ => true,
            };
            is_named && key.algorithms.contains(&algorithm)
        };
        self.keys.iter().filter(fits)
    }
}

fn of_pem(text: &str) -> Result<Key, String> {
    if text.contains("PRIVATE KEY") {
        return Err("it has a private key; expected is the public key alone".to_owned());
    }
    let bytes = text.as_bytes();
    let (algorithms, key) = if let Ok(key) = DecodingKey::from_rsa_pem(bytes) {
        if key.try_get_as_bytes().is_ok_and(|der| der.len() < RSA_LENGTH_MIN) {
            return Err("its key of RSA has less than 2048 bits".to_owned());
        }
        (RSA.to_vec(), key)
    } else if let Ok(key) = DecodingKey::from_ec_pem(bytes) {
        (vec![Algorithm::ES256, Algorithm::ES384], key)
    } else if let Ok(key) = DecodingKey::from_ed_pem(bytes) {
        (vec![Algorithm::EdDSA], key)
    } else {
        return Err(
            "it is neither a public key (PEM: RSA, P-256, P-384 or Ed25519) nor a JWKS (`{\"keys\": […]}`)"
                .to_owned(),
        );
    };
    Ok(Key {
        id: None,
        algorithms,
        key,
    })
}

fn of_jwks(text: &str) -> Result<Vec<Key>, String> {
    let set: Value = serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
    let Some(all) = set.get("keys").and_then(Value::as_array) else {
        return Err("it has no list `keys`".to_owned());
    };
    if all.len() > KEYS_MAX {
        return Err(format!("it has more than {KEYS_MAX} keys"));
    }
    let mut keys = Vec::new();
    for (at, value) in all.iter().enumerate() {
        // Others may stand beside those for tokens, or be of a kind to come.
        match of_jwk(value) {
            Ok(key) => keys.push(key),
            Err(reason) => tracing::warn!(at, reason, "a key of a JWKS is left out"),
        }
    }
    if keys.is_empty() {
        return Err("none of its keys can check a token".to_owned());
    }
    Ok(keys)
}

fn of_jwk(value: &Value) -> Result<Key, String> {
    let jwk: Jwk = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
    let common = &jwk.common;
    if common
        .public_key_use
        .as_ref()
        .is_some_and(|usage| *usage != PublicKeyUse::Signature)
    {
        return Err("it is not for signatures".to_owned());
    }
    if common
        .key_operations
        .as_ref()
        .is_some_and(|for_what| !for_what.contains(&KeyOperations::Verify))
    {
        return Err("it is not for checking signatures".to_owned());
    }
    let key = DecodingKey::from_jwk(&jwk).map_err(|error| error.to_string())?;
    let mut algorithms = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => RSA.to_vec(),
        AlgorithmParameters::EllipticCurve(curve) => match curve.curve {
            EllipticCurve::P256 => vec![Algorithm::ES256],
            EllipticCurve::P384 => vec![Algorithm::ES384],
            _ => return Err("its curve is not known".to_owned()),
        },
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            vec![Algorithm::EdDSA]
        }
        AlgorithmParameters::OctetKey(_) => {
            if key.try_get_as_bytes().map_or(0, <[u8]>::len) < SECRET_LENGTH_MIN {
                return Err(format!("its secret is shorter than {SECRET_LENGTH_MIN} bytes"));
            }
            SECRET.to_vec()
        }
        _ => return Err("its kind is not known".to_owned()),
    };
    if let jsonwebtoken::DecodingKeyKind::RsaModulusExponent { n, .. } = key.kind()
        && n.len() < RSA_LENGTH_MIN
    {
        return Err("its key of RSA has less than 2048 bits".to_owned());
    }
    if let Some(own) = common.key_algorithm {
        algorithms.retain(|algorithm| format!("{algorithm:?}") == own.to_string());
    }
    if algorithms.is_empty() {
        return Err("its algorithm does not go with its kind".to_owned());
    }
    Ok(Key {
        id: common.key_id.clone(),
        algorithms,
        key,
    })
}
