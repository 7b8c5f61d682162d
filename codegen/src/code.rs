//! Rust code of proto packages: prost's messages, tonic's clients and servers, and what makes them easy to live with.

use std::collections::{BTreeMap, BTreeSet};

use prost_build::{Config, Module};
use syn::{Item, parse_quote};

use crate::{Error, ErrorKind, package::Package, package::Tree, sources::Sources};

/// What generated code finds its libraries by: a user depends on `micro` and `tonic` alone.
const PROST: &str = "::micro::prost";
const PROST_TYPES: &str = "::micro::prost_types";
const CODEC: &str = "::micro::__private::ProstCodec";

/// The well-known wrapper types as Rust has them; a method may take and answer them.
const PRIMITIVES: &[&str] = &["()", "bool", "i32", "i64", "u32", "u64", "f32", "f64"];

/// The file that `include_proto!()` takes in.
pub(crate) const ALL_PACKAGES: &str = "micro_packages";

/// The code of every package, by module.
pub(crate) fn generate(sources: &Sources, mut config: Config) -> Result<BTreeMap<Module, String>, Error> {
    tonic_prost_build::NON_PATH_TYPE_ALLOWLIST.set(PRIMITIVES);
    config.prost_path(PROST).prost_types_path(PROST_TYPES);
    config.service_generator(
        tonic_prost_build::configure()
            // `connect` would need tonic's transport; a channel of the framework is what a client is made of.
            .build_transport(false)
            .codec_path(CODEC)
            .service_generator(),
    );
    let requests = sources
        .files
        .iter()
        .map(|file| (Module::from_protobuf_package_name(file.package()), file.clone()));
    config
        .generate(requests.collect())
        .map(BTreeMap::from_iter)
        .map_err(|error| Error::new(ErrorKind::Code, "generate Rust code").with_source(error))
}

/// The file that `include_proto!("package")` takes in.
pub(crate) fn package_file(
    package: &Package,
    code: &str,
    used: impl IntoIterator<Item = Package>,
) -> Result<String, Error> {
    let code = quiet(code).map_err(|error| {
        Error::new(
            ErrorKind::Code,
            format!("read the code generated for package `{}`", package.name()),
        )
        .with_source(error)
    })?;
    let uses: String = used
        .into_iter()
        .filter_map(|other| Some(reach(package, &other, &package.path_to(&other)?)))
        .collect();
    Ok(format!("{}{uses}{code}", descriptor_set(package.file_stem())))
}

/// The file that `include_proto!()` takes in: every package in a module of its own path.
pub(crate) fn all_packages_file(packages: &BTreeSet<Package>) -> Result<String, Error> {
    let tree = Tree::new(packages).code(&|package| {
        format!(
            r#"include!(concat!(env!("OUT_DIR"), "/{}.rs"));"#,
            package.file_stem()
        )
    });
    let tree = quiet(&tree).map_err(|error| {
        Error::new(ErrorKind::Code, "read the modules of all packages").with_source(error)
    })?;
    // The code of files without a package stands beside the tree's own descriptor set, and brings the same one along.
    let descriptors = if packages.iter().any(Package::is_unnamed) {
        String::new()
    } else {
        descriptor_set(ALL_PACKAGES)
    };
    Ok(format!("{descriptors}{tree}"))
}

fn descriptor_set(file_stem: &str) -> String {
    format!(
        "/// The descriptors of these protos, comments included: for reflection and for `ServiceBuilder::descriptors`.\n\
         #[allow(dead_code, unreachable_pub, reason = \"generated code\")]\n\
         pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{file_stem}.binpb\"));\n"
    )
}

/// A line that does nothing if the package `other` is where the generated code looks for it. If it is not, the
/// compiler's message shows this line, and thereby what to do.
fn reach(package: &Package, other: &Package, path: &str) -> String {
    format!(
        "#[allow(unused_imports, reason = \"generated code\")]\n\
         use {path} as _; // `micro::include_proto!()` takes in all packages: {} uses {}\n",
        package.name(),
        other.name()
    )
}

/// Nobody can change generated code, so nobody wants to hear what is wrong with its style.
fn quiet(code: &str) -> syn::Result<String> {
    let mut file = syn::parse_file(code)?;
    for item in &mut file.items {
        let attributes = match item {
            Item::Enum(item) => &mut item.attrs,
            Item::Impl(item) => &mut item.attrs,
            Item::Mod(item) => &mut item.attrs,
            Item::Struct(item) => &mut item.attrs,
            _ => continue,
        };
        attributes.push(parse_quote!(#[allow(
            dead_code, missing_docs, unreachable_pub, unused_qualifications,
            clippy::all, clippy::pedantic, clippy::nursery, clippy::restriction,
            reason = "generated code"
        )]));
    }
    Ok(prettyplease::unparse(&file))
}
