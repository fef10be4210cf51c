//! URLs with a mistake: refused as they are read, before anything is connected, in words that say
//! what to write.
//!
//! Not how a good URL is read, which the driver's own tests check. No runtime has a part in this.

use clamator_driver::{InvalidTarget, Target};

#[test]
fn a_url_with_a_mistake_is_told_what_to_write() {
    let cases = [
        ("", "write redis://host:port"),
        ("localhost:6379", "write redis://host:port"),
        ("http://localhost", "\"http\" is no scheme"),
        ("redis://", "the host is missing"),
        ("redis://localhost:99999", "1 to 65535"),
        ("redis://localhost:port", "1 to 65535"),
        ("redis://localhost/first", "\"first\" is no database"),
        ("redis://localhost/-1", "write a number"),
        ("redis://localhost?db=4", "unknown option \"db\""),
        ("redis://localhost?db=4", "the database is the URL's path"),
        ("redis://localhost?clientName=x", "unknown option \"clientName\""),
        ("redis://localhost?protocol=resp4", "write resp2 or resp3"),
        ("redis://localhost#1", "%23"),
        ("redis://bob@localhost", "redis://user:password@host"),
        ("redis://:%ff@localhost", "UTF-8"),
        ("unix://run/redis.sock", "three slashes"),
        ("unix:///run/redis.sock?database=1", "unknown option \"database\""),
    ];
    for (url, words) in cases {
        let fault = Target::url(url).expect_err(url).to_string();
        assert!(fault.contains(words), "{url}: {words:?} is not in {fault:?}");
    }
}

#[test]
fn a_wrong_url_is_refused_before_anything_is_connected() {
    let fault = Target::url("redis://localhost?clientName=x").unwrap_err();
    assert!(matches!(&fault, InvalidTarget::UnknownKey { key, .. } if key == "clientName"));
    assert!(matches!("localhost:6379".parse::<Target>(), Err(InvalidTarget::Scheme { .. })));
}
