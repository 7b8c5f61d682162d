//! What holds of paths, queries, bodies, templates and tokens whatever is written; a fuzzer writes it, and tests replay what it has found.

use std::str;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto::sign, get_current_timestamp};
use prost_reflect::{
    DescriptorPool, MessageDescriptor,
    prost_types::{
        DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
        field_descriptor_proto::Label, field_descriptor_proto::Type,
    },
};
use serde_json::Value;

use crate::{
    path::Path,
    query, request,
    segments::Segments,
    template::{Segment, Template, Variable},
    tokens::{Keys, Tokens, verify},
};

/// How deep the bodies of the fuzzer may be nested.
const DEPTH_MAX: usize = 64;

/// A path that is taken has two or three parts that are plain names, and none that leads anywhere else.
///
/// # Panics
///
/// When that does not hold.
pub fn path(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Some(segments) = Segments::parse(text) {
        let is_sound = |part: &String| {
            !matches!(part.as_str(), "" | "." | "..")
                && !part.contains(['/', '\\', '%', ';', '?', '#', '\0', '\r', '\n'])
        };
        assert!(segments.parts.iter().all(is_sound), "{segments:?}");
    }
    let Ok(path) = Path::parse(text) else { return };
    assert!(text.starts_with('/') && !text.contains("//"));
    for part in [Some(&path.service), path.kind.as_ref(), Some(&path.method)]
        .into_iter()
        .flatten()
    {
        let is_letter = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = part.as_bytes();
        assert!(
            is_letter(bytes.first()) && is_letter(bytes.last()) && !part.contains(".."),
            "{part}"
        );
        assert!(
            bytes
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte)),
            "{part}"
        );
    }
}

/// A body that is taken can be written again, and is then taken as the same; and so is a query.
///
/// # Panics
///
/// When that does not hold.
pub fn json(data: &[u8]) {
    let descriptor = descriptor();
    let mut taken = vec![request::parse(&descriptor, data, DEPTH_MAX)];
    if let Ok(text) = str::from_utf8(data) {
        taken.push(query::message(&descriptor, text));
    }
    for message in taken.into_iter().flatten() {
        // A text of the fuzzer's may be a number that JSON has no form for, such as a large one.
        let Ok(written) = micro_dynamic::to_json(&message) else {
            continue;
        };
        let again = request::parse(&descriptor, written.as_bytes(), DEPTH_MAX + 1);
        let again = again.map(|again| micro_dynamic::to_json(&again).ok());
        assert!(
            again.is_ok_and(|again| again.as_deref() == Some(&written)),
            "{written}"
        );
    }
}

/// A template that is taken says one thing alone, and whatever path fits it gives values that stand in the path.
///
/// # Panics
///
/// When that does not hold.
pub fn template(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let (text, path) = text.split_once('\n').unwrap_or((text, "/a/b/c"));
    let Ok(template) = Template::parse(text) else {
        return;
    };
    assert!(text.starts_with('/') && template.segments.len() <= 32);
    let rest = template
        .segments
        .iter()
        .position(|segment| *segment == Segment::Rest);
    assert!(rest.is_none_or(|at| at + 1 == template.segments.len()));
    for segment in &template.segments {
        // A literal that no path has could never be reached.
        if let Segment::Literal(literal) = segment {
            let alone = Segments::parse(&format!("/{literal}"));
            assert!(
                alone.is_some_and(|alone| alone.parts == [literal.as_str()]),
                "{literal:?}"
            );
        }
    }
    let mut fields: Vec<_> = template
        .variables
        .iter()
        .map(|variable| &variable.field)
        .collect();
    fields.sort();
    fields.dedup();
    assert_eq!(fields.len(), template.variables.len());
    let within = |variable: &Variable| variable.segments.end <= template.segments.len();
    assert!(template.variables.iter().all(within));
    if let Some(path) = Segments::parse(path) {
        let whole = path.parts.join("/");
        for (_, value) in template.values(&path.parts) {
            assert!(whole.contains(&value), "{value:?}");
        }
    }
}

/// No token does harm that the bytes are, and none holds that is signed with what it says of itself unless it was signed with
/// the secret, has not expired, and is of the right issuer for the right audience. Nor does a file of keys do harm.
///
/// # Panics
///
/// When that does not hold.
pub fn token(data: &[u8]) {
    // What is wrong with a file, it says.
    let _ = Keys::parse(data).map(|keys| keys.len());
    let Ok(text) = str::from_utf8(data) else { return };
    let secret = URL_SAFE_NO_PAD.encode(SECRET);
    let jwks = format!(r#"{{"keys":[{{"kty":"oct","alg":"HS256","k":"{secret}"}}]}}"#);
    let keys = Keys::parse(jwks.as_bytes()).expect("the key above is sound");
    let settings = Tokens::fuzzed();
    // Nobody signed it.
    assert!(verify(text, &keys, &settings).is_err());
    let (header, claims) = text.split_once('\n').unwrap_or((r#"{"alg":"HS256"}"#, text));
    let [header, payload] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    let signed = format!("{header}.{payload}");
    let key = EncodingKey::from_secret(SECRET);
    let signature = sign(signed.as_bytes(), &key, Algorithm::HS256).expect("a secret signs anything");
    if verify(&format!("{signed}.{signature}"), &keys, &settings).is_err() {
        return;
    }
    let claims: Value = serde_json::from_str(claims).expect("what holds is JSON");
    let expires = claims["exp"].as_f64().expect("what holds says until when");
    // It may be as much later than the clock was as the test is slow.
    assert!(expires + 60.0 >= get_current_timestamp() as f64, "{claims}");
    let says = |name: &str, expected: &str| match &claims[name] {
        Value::String(one) => one == expected,
        Value::Array(several) => several.iter().any(|one| one == expected),
        _ => false,
    };
    assert!(says("iss", "https://id") && says("aud", "shop"), "{claims}");
}

/// What tokens of the fuzzer are signed with.
const SECRET: &[u8] = b"a secret that no token is worth keeping";

/// A message that holds itself, and a field of each of the kinds whose JSON differs.
fn descriptor() -> MessageDescriptor {
    let field = |(name, number, kind, label): (&str, i32, Type, Label)| FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        r#type: Some(kind.into()),
        label: Some(label.into()),
        type_name: (kind == Type::Message).then(|| ".Any".to_owned()),
        ..FieldDescriptorProto::default()
    };
    let fields = [
        ("a", 1, Type::String, Label::Optional),
        ("b", 2, Type::Int64, Label::Optional),
        ("c", 3, Type::Uint32, Label::Repeated),
        ("d", 4, Type::Bytes, Label::Optional),
        ("e", 5, Type::Bool, Label::Optional),
        ("f", 6, Type::Message, Label::Optional),
        ("g", 7, Type::Message, Label::Repeated),
        ("h_i", 8, Type::String, Label::Repeated),
    ];
    let message = DescriptorProto {
        name: Some("Any".to_owned()),
        field: fields.into_iter().map(field).collect(),
        ..DescriptorProto::default()
    };
    let file = FileDescriptorProto {
        name: Some("any.proto".to_owned()),
        syntax: Some("proto3".to_owned()),
        message_type: vec![message],
        ..FileDescriptorProto::default()
    };
    let pool = DescriptorPool::from_file_descriptor_set(FileDescriptorSet { file: vec![file] });
    let pool = pool.expect("the descriptor above is sound");
    pool.get_message_by_name("Any").expect("it is in the file above")
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    #[test]
    fn what_a_fuzzer_wrote_does_no_harm() {
        replay("gateway_path", super::path);
        replay("gateway_json", super::json);
        replay("gateway_template", super::template);
        replay("gateway_token", super::token);
    }

    fn replay(target: &str, property: fn(&[u8])) {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../fuzz/corpus")
            .join(target);
        let files: Vec<_> = fs::read_dir(corpus)
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        assert!(!files.is_empty(), "no corpus of {target}");
        for file in files {
            property(&fs::read(file).unwrap());
        }
    }
}
