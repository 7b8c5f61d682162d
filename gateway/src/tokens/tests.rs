//! Which tokens hold.

use std::fs;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp, jwk::Jwk};
use serde_json::{Value, json};

use super::{
    claims::{Claims, Refusal},
    keys::Keys,
    settings::Tokens,
    token::verify,
};

const RSA: &[u8] = include_bytes!("../tests/keys/rsa.pem");
const RSA_PUBLIC: &[u8] = include_bytes!("../tests/keys/rsa.pub.pem");
const EC: &[u8] = include_bytes!("../tests/keys/ec.pem");
const EC_PUBLIC: &[u8] = include_bytes!("../tests/keys/ec.pub.pem");
const ED: &[u8] = include_bytes!("../tests/keys/ed.pem");
const ED_PUBLIC: &[u8] = include_bytes!("../tests/keys/ed.pub.pem");
const WEAK_PUBLIC: &[u8] = include_bytes!("../tests/keys/weak.pub.pem");

fn claims() -> Value {
    json!({ "sub": "ada", "exp": get_current_timestamp() + 600, "iss": "https://id", "aud": "shop" })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    match value {
        Value::Null => claims.as_object_mut().unwrap().remove(name),
        value => claims.as_object_mut().unwrap().insert(name.to_owned(), value),
    };
    claims
}

fn signed(claims: &Value) -> String {
    encode(
        &Header::new(Algorithm::ES256),
        claims,
        &EncodingKey::from_ec_pem(EC).unwrap(),
    )
    .unwrap()
}

fn settings() -> Tokens {
    toml::from_str("keys = 'k'\nissuer = 'https://id'\naudience = ['shop', 'other']\nleeway = '30s'").unwrap()
}

fn checked(token: &str, keys: &[u8]) -> Result<Claims, Refusal> {
    verify(token, &Keys::parse(keys).unwrap(), &settings())
}

fn holds(token: &str) -> bool {
    checked(token, EC_PUBLIC).is_ok()
}

#[test]
fn a_token_of_each_kind_of_key_holds_and_says_who_it_is_about() {
    let (rsa, ed) = (
        EncodingKey::from_rsa_pem(RSA).unwrap(),
        EncodingKey::from_ed_pem(ED).unwrap(),
    );
    for (token, public) in [
        (signed(&claims()), EC_PUBLIC),
        (
            encode(&Header::new(Algorithm::RS256), &claims(), &rsa).unwrap(),
            RSA_PUBLIC,
        ),
        (
            encode(&Header::new(Algorithm::PS512), &claims(), &rsa).unwrap(),
            RSA_PUBLIC,
        ),
        (
            encode(&Header::new(Algorithm::EdDSA), &claims(), &ed).unwrap(),
            ED_PUBLIC,
        ),
    ] {
        assert_eq!(checked(&token, public).unwrap().subject(), Some("ada"));
        for other in [EC_PUBLIC, RSA_PUBLIC, ED_PUBLIC]
            .into_iter()
            .filter(|other| *other != public)
        {
            assert!(checked(&token, other).is_err());
        }
    }
}

#[test]
fn a_token_does_not_choose_how_it_is_checked() {
    // Signed with the public key as if it were a secret, as PEM and as what is in it.
    let der = Keys::parse(RSA_PUBLIC).unwrap();
    let der = der
        .fitting(None, Algorithm::RS256)
        .next()
        .unwrap()
        .key
        .try_get_as_bytes()
        .unwrap()
        .to_vec();
    for secret in [RSA_PUBLIC, &der] {
        let key = EncodingKey::from_secret(secret);
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let token = encode(&Header::new(algorithm), &claims(), &key).unwrap();
            assert!(checked(&token, RSA_PUBLIC).is_err(), "{algorithm:?}");
        }
    }
    let payload = URL_SAFE_NO_PAD.encode(claims().to_string());
    for algorithm in ["none", "None", "NONE", "", "HS256", "ES256"] {
        let header = URL_SAFE_NO_PAD.encode(json!({ "alg": algorithm, "typ": "JWT" }).to_string());
        for signature in ["", "AAAA"] {
            assert!(!holds(&format!("{header}.{payload}.{signature}")), "{algorithm}");
        }
        assert!(!holds(&format!("{header}.{payload}")), "{algorithm}");
    }
}

#[test]
fn a_token_of_which_any_letter_is_changed_does_not_hold() {
    let token = signed(&claims());
    assert!(holds(&token));
    for at in 0..token.len() {
        let mut changed = token.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        // The last letter of a signature has bits that are not part of it, but then it has to be written as it is.
        assert!(!holds(&changed), "letter {at} of {}", token.len());
        assert!(!holds(&token[..at]), "the first {at} letters");
    }
    assert!(!holds(&format!("{token}A")) && !holds(&format!("{token}.A")));
}

#[test]
fn a_token_holds_for_its_time_its_audience_and_its_issuer() {
    let now = get_current_timestamp();
    for (name, value, is_good) in [
        ("exp", json!(now + 5), true),
        ("exp", json!(now - 20), true),
        ("exp", json!(now - 40), false),
        ("exp", Value::Null, false),
        ("exp", json!("9999999999"), false),
        ("nbf", json!(now + 20), true),
        ("nbf", json!(now + 40), false),
        ("nbf", json!((now + 4000).to_string()), false),
        ("nbf", json!({}), false),
        ("aud", json!(["else", "other"]), true),
        ("aud", json!("else"), false),
        ("aud", json!([]), false),
        ("aud", json!(7), false),
        ("aud", Value::Null, false),
        ("iss", json!("https://id/"), false),
        ("iss", Value::Null, false),
        ("iss", json!(["https://id"]), true),
    ] {
        assert_eq!(
            holds(&signed(&with(name, value.clone()))),
            is_good,
            "{name} {value}"
        );
    }
}

#[test]
fn a_token_for_something_else_does_not_hold() {
    let key = EncodingKey::from_ec_pem(EC).unwrap();
    for (kind, is_good) in [
        ("JWT", true),
        ("at+jwt", true),
        ("logout+jwt", false),
        ("dpop+jwt", false),
    ] {
        let header = Header {
            typ: Some(kind.to_owned()),
            ..Header::new(Algorithm::ES256)
        };
        assert_eq!(
            holds(&encode(&header, &claims(), &key).unwrap()),
            is_good,
            "{kind}"
        );
    }
    let header = Header {
        crit: Some(vec!["b64".to_owned()]),
        ..Header::new(Algorithm::ES256)
    };
    assert!(!holds(&encode(&header, &claims(), &key).unwrap()));
}

#[test]
fn a_set_of_keys_has_them_by_their_ids_and_leaves_others_out() {
    let jwk = |pem: &EncodingKey, algorithm, id: &str| {
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(pem, algorithm).unwrap()).unwrap();
        jwk["kid"] = id.into();
        jwk
    };
    let (ec, ed) = (
        EncodingKey::from_ec_pem(EC).unwrap(),
        EncodingKey::from_ed_pem(ED).unwrap(),
    );
    let mut encryption = jwk(&ec, Algorithm::ES256, "enc");
    encryption["use"] = "enc".into();
    let secret = URL_SAFE_NO_PAD.encode([7; 32]);
    let set = json!({ "keys": [
        jwk(&ec, Algorithm::ES256, "a"),
        jwk(&ed, Algorithm::EdDSA, "b"),
        { "kty": "oct", "kid": "c", "k": secret, "alg": "HS256" },
        { "kty": "oct", "kid": "short", "k": "c2hvcnQ" },
        encryption,
        { "kty": "of tomorrow" },
    ]});
    let keys = set.to_string();
    assert_eq!(Keys::parse(keys.as_bytes()).unwrap().len(), 3);
    let token = |key: &EncodingKey, algorithm, id: Option<&str>| {
        let header = Header {
            kid: id.map(str::to_owned),
            ..Header::new(algorithm)
        };
        checked(&encode(&header, &claims(), key).unwrap(), keys.as_bytes()).is_ok()
    };
    assert!(token(&ec, Algorithm::ES256, Some("a")) && token(&ec, Algorithm::ES256, None));
    assert!(token(&ed, Algorithm::EdDSA, Some("b")) && !token(&ed, Algorithm::EdDSA, Some("a")));
    assert!(!token(&ec, Algorithm::ES256, Some("enc")) && !token(&ec, Algorithm::ES256, Some("d")));
    let secret = EncodingKey::from_secret(&[7; 32]);
    assert!(token(&secret, Algorithm::HS256, Some("c")) && !token(&secret, Algorithm::HS512, Some("c")));
}

#[test]
fn what_is_no_key_for_tokens_says_so() {
    for (bytes, expected) in [
        (&b""[..], "neither a public key"),
        (b"{}", "no list `keys`"),
        (b"{", "not JSON"),
        (br#"{"keys":[]}"#, "none of its keys"),
        (b"\xff", "not text"),
        (RSA, "private key"),
        (WEAK_PUBLIC, "less than 2048 bits"),
    ] {
        let error = Keys::parse(bytes).err().unwrap();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_file_is_read_again_when_it_changes_and_a_bad_one_takes_nothing_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    fs::write(&path, EC_PUBLIC).unwrap();
    let file = super::KeyFile::new(&path);
    let token = signed(&claims());
    let is_good = async || verify(&token, &file.keys().await.unwrap(), &settings()).is_ok();
    assert!(is_good().await);
    for (bytes, expected) in [
        (b"nothing".as_slice(), true),
        (ED_PUBLIC, false),
        (EC_PUBLIC, true),
    ] {
        fs::write(&path, bytes).unwrap();
        tokio::time::advance(std::time::Duration::from_secs(2)).await;
        assert_eq!(is_good().await, expected);
    }
    fs::remove_file(&path).unwrap();
    tokio::time::advance(std::time::Duration::from_secs(2)).await;
    assert!(is_good().await);
    assert!(super::KeyFile::new(&path).keys().await.is_err());
}
