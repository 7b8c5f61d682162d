//! What descriptors say of methods: names, messages, streaming, and whether a call may be repeated.

use std::collections::HashSet;

use micro_registry::{Idempotency, Method};
use prost::Message;
use prost_types::{
    FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, method_options::IdempotencyLevel,
};

use crate::{Error, Result};

/// The methods of every service in an encoded `FileDescriptorSet`, in the order of the files.
pub(crate) fn methods(descriptors: &[u8]) -> Result<Vec<Method>> {
    let set = FileDescriptorSet::decode(descriptors).map_err(|error| {
        Error::config("read a file descriptor set: the bytes given to `descriptors` are not one")
            .with_source(error)
    })?;
    let mut methods = Vec::new();
    for file in &set.file {
        methods_of_file(file, &mut methods)?;
    }
    Ok(methods)
}

/// The methods of several sets; what several of them have, as an imported file, is there once.
pub(crate) fn methods_of_all<S: AsRef<[u8]>>(sets: &[S]) -> Result<Vec<Method>> {
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for set in sets {
        for method in methods(set.as_ref())? {
            if seen.insert((method.service.clone(), method.name.clone())) {
                all.push(method);
            }
        }
    }
    Ok(all)
}

fn methods_of_file(file: &FileDescriptorProto, methods: &mut Vec<Method>) -> Result<()> {
    for service in &file.service {
        let service_name = match file.package() {
            "" => service.name().to_owned(),
            package => format!("{package}.{}", service.name()),
        };
        for method in &service.method {
            if service.name().is_empty() || method.name().is_empty() {
                return Err(Error::config(format!(
                    "read a file descriptor set: a service or method of `{}` has no name",
                    file.name()
                )));
            }
            methods.push(method_of(&service_name, method));
        }
    }
    Ok(())
}

fn method_of(service: &str, descriptor: &MethodDescriptorProto) -> Method {
    let mut method = Method::new(service, descriptor.name());
    method.request = without_leading_dot(descriptor.input_type());
    method.response = without_leading_dot(descriptor.output_type());
    method.client_streaming = descriptor.client_streaming();
    method.server_streaming = descriptor.server_streaming();
    method.idempotency = descriptor
        .options
        .as_ref()
        .map(|options| match options.idempotency_level() {
            IdempotencyLevel::IdempotencyUnknown => Idempotency::Unknown,
            IdempotencyLevel::Idempotent => Idempotency::Idempotent,
            IdempotencyLevel::NoSideEffects => Idempotency::NoSideEffects,
        })
        .unwrap_or_default();
    method
}

/// Descriptors write a full name as `.greeter.HelloRequest`.
fn without_leading_dot(name: &str) -> String {
    name.strip_prefix('.').unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost_types::{MethodOptions, ServiceDescriptorProto};

    use super::*;

    fn descriptor(
        name: &str,
        level: Option<IdempotencyLevel>,
        server_streaming: bool,
    ) -> MethodDescriptorProto {
        MethodDescriptorProto {
            name: Some(name.into()),
            input_type: Some(".greeter.HelloRequest".into()),
            output_type: Some(".greeter.HelloReply".into()),
            options: level.map(|level| MethodOptions {
                idempotency_level: Some(level as i32),
                ..MethodOptions::default()
            }),
            server_streaming: Some(server_streaming),
            client_streaming: None,
        }
    }

    fn set(package: Option<&str>, methods: Vec<MethodDescriptorProto>) -> Vec<u8> {
        let service = ServiceDescriptorProto {
            name: Some("Say".into()),
            method: methods,
            options: None,
        };
        let file = FileDescriptorProto {
            name: Some("greeter.proto".into()),
            package: package.map(Into::into),
            service: vec![service],
            ..FileDescriptorProto::default()
        };
        FileDescriptorSet { file: vec![file] }.encode_to_vec()
    }

    #[test]
    fn a_method_has_its_names_its_streaming_and_its_idempotency() {
        let bytes = set(
            Some("greeter"),
            vec![
                descriptor("Hello", Some(IdempotencyLevel::NoSideEffects), false),
                descriptor("Greetings", None, true),
            ],
        );
        let methods = methods(&bytes).unwrap();
        assert_eq!(methods[0].path(), "/greeter.Say/Hello");
        assert_eq!(methods[0].request, "greeter.HelloRequest");
        assert_eq!(methods[0].response, "greeter.HelloReply");
        assert_eq!(methods[0].idempotency, Idempotency::NoSideEffects);
        assert!(methods[0].is_unary());
        assert!(methods[1].server_streaming && !methods[1].client_streaming);
        assert!(!methods[1].is_idempotent());
    }

    #[test]
    fn a_service_without_a_package_has_no_dot() {
        let methods = methods(&set(None, vec![descriptor("Hello", None, false)])).unwrap();
        assert_eq!(methods[0].service, "Say");
    }

    #[test]
    fn a_method_of_several_sets_is_there_once() {
        let bytes = set(Some("greeter"), vec![descriptor("Hello", None, false)]);
        assert_eq!(methods_of_all(&[&bytes, &bytes]).unwrap().len(), 1);
    }

    #[test]
    fn bytes_that_are_no_set_and_methods_without_a_name_are_refused() {
        for bytes in [
            vec![0xff; 8],
            set(Some("greeter"), vec![descriptor("", None, false)]),
        ] {
            let error = methods(&bytes).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Config);
            assert!(error.to_string().contains("file descriptor set"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = methods(&bytes);
        }
    }
}
