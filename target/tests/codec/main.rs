//! The frames that both codecs, this one and the TypeScript one, must read alike: test/conformance/vectors.json.

mod decode;

use decode::{decode, unhex};
use serde_json::Value;

#[test]
fn every_vector_decodes_to_what_it_means() {
    let vectors: Vec<Value> = serde_json::from_str(include_str!("../../../test/conformance/vectors.json")).unwrap();
    assert!(vectors.len() >= 20);
    for vector in vectors {
        let frame = unhex(vector["frame"].as_str().unwrap()).unwrap();
        let mut decoded = decode(&frame);
        if let Some(decoded) = decoded.as_object_mut() {
            let emitted = unhex(decoded.remove("emitted").unwrap().as_str().unwrap()).unwrap();
            assert_eq!(emitted, frame[..emitted.len()], "{}", vector["name"]);
        }
        assert_eq!(decoded, vector["decoded"], "{}", vector["name"]);
    }
}
