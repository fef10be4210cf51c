#[test]
fn t() {
    if let Ok(s) = std::env::var("ZZ") {
        let (l, o) = clamator_engine::sim::trace(s.parse().unwrap(), 400000);
        println!("{}\n{:?}", l.join("\n"), o);
        return;
    }
    let mut m = std::collections::BTreeMap::<&str, Vec<u64>>::new();
    for seed in 0..4000 {
        if let Err(f) = clamator_engine::sim::run(seed) { m.entry(f.invariant).or_default().push(seed); }
    }
    println!("{m:#?}");
}
