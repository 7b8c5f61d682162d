//! Proto packages as Rust modules: which there are, what they use of each other, and the tree of all of them.

use std::collections::{BTreeMap, BTreeSet};

use prost_build::Module;
use protox::prost_reflect::{DescriptorPool, FileDescriptor, Kind, MessageDescriptor};

/// The packages whose code is in `prost-types`.
const WELL_KNOWN: &str = "google.protobuf";

/// A proto package that code is generated for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Package {
    name: String,
}

impl Package {
    pub(crate) fn all(pool: &DescriptorPool) -> BTreeSet<Self> {
        pool.files().filter_map(|file| Self::of(&file)).collect()
    }

    fn of(file: &FileDescriptor) -> Option<Self> {
        (file.package_name() != WELL_KNOWN).then(|| Self {
            name: file.package_name().to_owned(),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where its code is: what `include_proto!` is called with, and an ending. Files without a package are `_`.
    pub(crate) fn file_stem(&self) -> &str {
        if self.is_unnamed() { "_" } else { &self.name }
    }

    /// Whether these are the files without a package.
    pub(crate) fn is_unnamed(&self) -> bool {
        self.name.is_empty()
    }

    pub(crate) fn module(&self) -> Module {
        Module::from_protobuf_package_name(&self.name)
    }

    /// The packages whose messages and enums it uses, itself left out.
    pub(crate) fn uses(&self, pool: &DescriptorPool) -> BTreeSet<Self> {
        let mut used = BTreeSet::new();
        let mut note = |file: FileDescriptor| used.extend(Self::of(&file));
        for file in pool.files().filter(|file| file.package_name() == self.name) {
            for message in file.messages() {
                note_fields(&message, &mut note);
            }
            for method in file
                .services()
                .flat_map(|service| service.methods().collect::<Vec<_>>())
            {
                note(method.input().parent_file());
                note(method.output().parent_file());
            }
        }
        used.remove(self);
        used
    }

    /// The module of `other`, as seen from this one's; `None` for a package that this one lies within.
    pub(crate) fn path_to(&self, other: &Self) -> Option<String> {
        let (own, other) = (self.module(), other.module());
        let (own, other): (Vec<_>, Vec<_>) = (own.parts().collect(), other.parts().collect());
        let shared = own.iter().zip(&other).take_while(|(a, b)| a == b).count();
        (shared < other.len()).then(|| {
            let up = own[shared..].iter().map(|_| "super");
            let path = ["self"]
                .into_iter()
                .chain(up)
                .chain(other[shared..].iter().copied());
            path.collect::<Vec<_>>().join("::")
        })
    }
}

fn note_fields(message: &MessageDescriptor, note: &mut impl FnMut(FileDescriptor)) {
    for field in message.fields() {
        match field.kind() {
            Kind::Message(used) => note(used.parent_file()),
            Kind::Enum(used) => note(used.parent_file()),
            _ => {}
        }
    }
    for child in message.child_messages() {
        note_fields(&child, note);
    }
}

/// Modules within modules, the innermost holding the code of their packages.
#[derive(Debug, Default)]
pub(crate) struct Tree<'a> {
    package: Option<&'a Package>,
    children: BTreeMap<String, Tree<'a>>,
}

impl<'a> Tree<'a> {
    pub(crate) fn new(packages: impl IntoIterator<Item = &'a Package>) -> Self {
        let mut root = Self::default();
        for package in packages {
            let mut tree = &mut root;
            for part in package.module().parts() {
                tree = tree.children.entry(part.to_owned()).or_default();
            }
            tree.package = Some(package);
        }
        root
    }

    /// The tree as Rust code; `include` says how a package's own code is taken in.
    pub(crate) fn code(&self, include: &impl Fn(&Package) -> String) -> String {
        let own = self.package.map(include).unwrap_or_default();
        let children = self
            .children
            .iter()
            .map(|(name, tree)| format!("pub mod {name} {{ {} }}", tree.code(include)));
        std::iter::once(own)
            .chain(children)
            .collect::<Vec<_>>()
            .join("\n")
    }
}
