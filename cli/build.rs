//! Has the command built anew when a template changes, which is a part of it.

fn main() {
    // Of a folder cargo looks at all that is in it.
    println!("cargo::rerun-if-changed=../templates");
}
