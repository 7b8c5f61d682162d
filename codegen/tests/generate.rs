//! What is generated: a file of code and one of descriptors for each package, and both for all packages together.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::{fs, path::Path, time::SystemTime};

use prost::Message;
use protox::prost_reflect::{
    DescriptorPool, Value,
    prost_types::{FileDescriptorSet, MethodOptions, method_options::IdempotencyLevel},
};
use tempfile::TempDir;

const GREETER: &str = r#"
syntax = "proto3";
package greeter;

import "google/protobuf/timestamp.proto";
import "shop/common/v1/money.proto";
import "options.proto";

// Says things.
service Say {
  // Greets by name.
  rpc Hello(HelloRequest) returns (HelloReply) {
    option idempotency_level = NO_SIDE_EFFECTS;
    option (options.route) = "/v1/hello";
  }
}

// Who is greeted.
message HelloRequest {
  string name = 1; // Any name.
}

message HelloReply {
  google.protobuf.Timestamp at = 1;
  shop.common.v1.Money price = 2;
}
"#;
const MONEY: &str = r#"
syntax = "proto3";
package shop.common.v1;

message Money { int64 units = 1; }

service Bank {
  rpc Convert(Money) returns (Money);
}
"#;
const OPTIONS: &str = r#"
syntax = "proto3";
package options;

import "google/protobuf/descriptor.proto";

extend google.protobuf.MethodOptions { string route = 50001; }
"#;

struct Generated(TempDir);

impl Generated {
    fn from(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            write(&folder.path().join("proto").join(name), text);
        }
        micro_build::configure()
            .out_dir(folder.path())
            .compile(&[folder.path().join("proto").join(files[0].0)])
            .unwrap();
        Self(folder)
    }

    fn greeter() -> Self {
        Self::from(&[
            ("greeter.proto", GREETER),
            ("shop/common/v1/money.proto", MONEY),
            ("options.proto", OPTIONS),
        ])
    }

    fn code(&self, stem: &str) -> String {
        fs::read_to_string(self.0.path().join(format!("{stem}.rs"))).unwrap()
    }

    fn descriptors(&self, stem: &str) -> Vec<u8> {
        fs::read(self.0.path().join(format!("{stem}.binpb"))).unwrap()
    }

    fn file_names(&self, stem: &str) -> Vec<String> {
        let set = FileDescriptorSet::decode(self.descriptors(stem).as_slice()).unwrap();
        set.file.into_iter().filter_map(|file| file.name).collect()
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn comments_travel_to_the_code() {
    let code = Generated::greeter().code("greeter");
    for comment in [
        "/// Says things.",
        "/// Greets by name.",
        "/// Who is greeted.",
        "/// Any name.",
    ] {
        assert!(code.contains(comment), "{comment}");
    }
}

#[test]
fn comments_and_nothing_else_of_the_source_travel_to_the_descriptors() {
    let set = FileDescriptorSet::decode(Generated::greeter().descriptors("greeter").as_slice()).unwrap();
    let greeter = set.file.iter().find(|file| file.package() == "greeter").unwrap();
    let locations = &greeter.source_code_info.as_ref().unwrap().location;
    let leading: Vec<&str> = locations
        .iter()
        .filter_map(|location| location.leading_comments.as_deref())
        .collect();
    assert_eq!(
        leading,
        [" Who is greeted.\n", " Says things.\n", " Greets by name.\n"]
    );
    assert_eq!(locations.len(), 4);
}

#[test]
fn services_of_imported_files_are_generated() {
    let generated = Generated::greeter();
    assert!(generated.code("shop.common.v1").contains("pub struct BankClient"));
    assert!(generated.code("shop.common.v1").contains("pub trait Bank"));
}

#[test]
fn the_descriptors_of_a_package_are_its_files_and_what_they_import() {
    let generated = Generated::greeter();
    assert_eq!(
        generated.file_names("shop.common.v1"),
        ["shop/common/v1/money.proto"]
    );
    let mut names = generated.file_names("greeter");
    // A file comes after what it imports.
    assert_eq!(names.pop().as_deref(), Some("greeter.proto"));
    names.sort();
    assert_eq!(
        names,
        [
            "google/protobuf/descriptor.proto",
            "google/protobuf/timestamp.proto",
            "options.proto",
            "shop/common/v1/money.proto"
        ]
    );
}

#[test]
fn options_of_others_making_stay_in_the_descriptors() {
    let pool = DescriptorPool::decode(Generated::greeter().descriptors("greeter").as_slice()).unwrap();
    let method = pool
        .get_service_by_name("greeter.Say")
        .unwrap()
        .methods()
        .next()
        .unwrap();
    let route = pool.get_extension_by_name("options.route").unwrap();
    assert_eq!(
        method.options().get_extension(&route).into_owned(),
        Value::String("/v1/hello".to_owned())
    );
    let options = method.options().transcode_to::<MethodOptions>().unwrap();
    assert_eq!(options.idempotency_level(), IdempotencyLevel::NoSideEffects);
}

#[test]
fn generated_code_needs_micro_and_tonic_alone() {
    let generated = Generated::greeter();
    for stem in ["greeter", "shop.common.v1"] {
        let code = generated.code(stem);
        for other in [" ::prost", "(::prost", "tonic_prost::", "<::prost", "transport::"] {
            assert!(!code.contains(other), "{stem}: {other}");
        }
        assert!(code.contains("::micro::prost::Message"));
    }
}

#[test]
fn a_package_says_which_other_package_it_needs() {
    let code = Generated::greeter().code("greeter");
    assert!(code.contains("use self::super::shop::common::v1 as _; // "));
    assert!(!code.contains("::options as _"));
}

#[test]
fn all_packages_stand_in_modules_of_their_paths() {
    let code = Generated::greeter().code("micro_packages");
    let squeezed: String = code.split_whitespace().collect();
    assert!(squeezed.contains(r#"pubmodgreeter{include!(concat!(env!("OUT_DIR"),"/greeter.rs"));}"#));
    assert!(squeezed.contains(
        r#"pubmodshop{pubmodcommon{pubmodv1{include!(concat!(env!("OUT_DIR"),"/shop.common.v1.rs"));}}}"#
    ));
}

#[test]
fn files_without_a_package_are_called_by_an_underscore() {
    let generated = Generated::from(&[("plain.proto", "syntax = \"proto3\";\nmessage Plain {}\n")]);
    assert!(generated.code("_").contains("pub struct Plain"));
    assert_eq!(
        generated
            .code("micro_packages")
            .matches("FILE_DESCRIPTOR_SET")
            .count(),
        0
    );
}

#[test]
fn what_is_right_already_is_not_written_again() {
    let generated = Generated::greeter();
    let path = generated.0.path().join("greeter.rs");
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    micro_build::configure()
        .out_dir(generated.0.path())
        .compile(&[generated.0.path().join("proto/greeter.proto")])
        .unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().modified().unwrap(),
        SystemTime::UNIX_EPOCH
    );
}
