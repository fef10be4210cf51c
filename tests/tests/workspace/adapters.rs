//! Adapters are thin and alike: whoever knows one knows all.
//!
//! What the driver re-exports through them is the same by construction; compared here is what each
//! adds, item by item, with the runtime's name taken out of it.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::io::Write;

use clamator_driver::Runtime;
use quote::ToTokens;
use syn::{Attribute, Fields, ImplItem, Item, ItemImpl, Meta, Visibility};

use crate::{lines_under, root};

/// Folder, name of the runtime, and what it can do beyond the others.
const ADAPTERS: [(&str, &str, &[&str]); 3] = [
    ("adapter-tokio", "Tokio", &["derive RUNTIME: Copy"]),
    ("adapter-async-std", "AsyncStd", &["derive RUNTIME: Copy"]),
    // A value that carries a program's own executor.
    (
        "adapter-smol",
        "Smol",
        &[
            "RUNTIME: pub fn on (spawn : impl Fn (BoxFuture < 'static , () >) + Send + Sync + 'static) -> Self",
        ],
    ),
];
/// Most lines of an adapter.
const LINES_MAX: usize = 160;

#[test]
fn adapters_add_the_same_public_items() {
    let faces: Vec<BTreeSet<String>> = ADAPTERS
        .iter()
        .map(|(folder, runtime, more)| {
            let mut face = face(folder, runtime);
            for item in *more {
                assert!(face.remove(*item), "{folder} has no {item:?}: {face:#?}");
            }
            face
        })
        .collect();
    assert!(faces[0].len() > 12, "{:#?}", faces[0]);
    for (face, (folder, ..)) in faces.iter().zip(ADAPTERS) {
        let missing: Vec<_> = faces[0].difference(face).collect();
        let more: Vec<_> = face.difference(&faces[0]).collect();
        assert!(
            missing.is_empty() && more.is_empty(),
            "{folder} differs from adapter-tokio: it lacks {missing:#?} and has {more:#?}"
        );
    }
}

#[test]
fn adapters_have_the_same_features() {
    let features = |folder: &str| {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        let from = manifest.find("[features]").expect("features");
        let section = &manifest[from..];
        section[..section[1..].find("\n[").unwrap()].trim().to_owned()
    };
    let wanted = features(ADAPTERS[0].0);
    assert!(wanted.contains("tls ="), "{wanted}");
    for (folder, ..) in ADAPTERS {
        assert_eq!(features(folder), wanted, "{folder}");
    }
}

/// What a program may count on of any runtime, as the compiler sees it.
#[test]
fn every_runtime_is_a_value_to_clone_show_and_default() {
    fn check<R: Runtime + Clone + Debug + Default + Send + Sync + 'static>() -> usize {
        size_of::<R>()
    }
    assert!(check::<clamator_tokio::Tokio>() <= check::<clamator_smol::Smol>());
    assert_eq!(check::<clamator_async_std::AsyncStd>(), 0);
}

#[test]
fn an_adapter_is_thin() {
    let mut table = String::from("lines of code, without tests\n");
    let mut row = |what: &str, lines: usize| table.push_str(&format!("{lines:>6}  {what}\n"));
    for folder in ["clamator-driver", "clamator-engine", "clamator-proto"] {
        row(&format!("{folder}, shared by every runtime"), lines_under(&format!("{folder}/src")));
    }
    for (folder, ..) in ADAPTERS {
        let lines = lines_under(&format!("{folder}/src"));
        row(&format!("{folder}, for one runtime"), lines);
        assert!((1..=LINES_MAX).contains(&lines), "{folder} has {lines} lines");
    }
    // Past the test harness, which keeps what a test that passes prints to itself.
    std::io::stderr().write_all(table.as_bytes()).unwrap();
}

/// What an adapter's crate root adds to the driver, with the runtime's name taken out.
fn face(folder: &str, runtime: &str) -> BTreeSet<String> {
    let source = fs::read_to_string(root().join(folder).join("src/lib.rs")).unwrap();
    let file = syn::parse_file(&source).unwrap();
    let items = file.items.iter().flat_map(public);
    let timer = format!("{runtime}Timer");
    let neutral = |item: String| {
        let words = item.split(' ').map(|word| match word.trim_end_matches(':') {
            name if name == timer => word.replace(&timer, "TIMER"),
            name if name == runtime => word.replace(runtime, "RUNTIME"),
            _ => word.to_owned(),
        });
        words.collect::<Vec<_>>().join(" ")
    };
    items.map(neutral).collect()
}

/// The public part of an item, a line for each.
fn public(item: &Item) -> Vec<String> {
    match item {
        Item::Impl(item) => of_impl(item),
        Item::Struct(item) if is_public(&item.vis) => {
            let name = item.ident.to_string();
            let mut lines = vec![format!("pub struct {name}")];
            lines.extend(derives(&item.attrs).map(|derived| format!("derive {name}: {derived}")));
            if let Fields::Named(fields) = &item.fields {
                let fields = fields.named.iter().filter(|field| is_public(&field.vis));
                lines.extend(fields.map(|field| format!("{name}.{}", field.to_token_stream())));
            }
            lines
        }
        Item::Type(item) if is_public(&item.vis) => {
            vec![format!("pub type {} = {}", item.ident, item.ty.to_token_stream())]
        }
        Item::Use(item) if is_public(&item.vis) => vec![item.to_token_stream().to_string()],
        Item::Fn(_) | Item::Struct(_) | Item::Type(_) | Item::Use(_) => {
            let text = item.to_token_stream().to_string();
            assert!(!text.contains("pub fn"), "a public function: {text}");
            Vec::new()
        }
        other => panic!("an item that adapters do not have: {}", other.to_token_stream()),
    }
}

/// A trait by its name, and the functions of an inherent implementation. What can be derived by
/// hand counts as derived.
fn of_impl(item: &ItemImpl) -> Vec<String> {
    let of = item.self_ty.to_token_stream().to_string();
    if let Some((of_trait, _)) = &item.trait_ {
        let name = of_trait.segments.last().unwrap().ident.to_string();
        let derivable = matches!(name.as_str(), "Clone" | "Debug" | "Default");
        return vec![if derivable {
            format!("derive {of}: {name}")
        } else {
            format!("impl {name} for {of}")
        }];
    }
    let functions = item.items.iter().filter_map(|item| match item {
        ImplItem::Fn(function) if is_public(&function.vis) => {
            Some(format!("{of}: pub {}", function.sig.to_token_stream()))
        }
        _ => None,
    });
    functions.collect()
}

fn derives(attributes: &[Attribute]) -> impl Iterator<Item = String> {
    attributes
        .iter()
        .filter_map(|attribute| match &attribute.meta {
            Meta::List(list) if list.path.is_ident("derive") => Some(list.tokens.to_string()),
            _ => None,
        })
        .flat_map(|list| list.split(" , ").map(str::to_owned).collect::<Vec<_>>())
        .flat_map(|list| list.split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>())
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}
