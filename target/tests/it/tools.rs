//! Debian's aoetools, which use raw sockets and need no kernel driver.

use crate::lab::{HOST, Lab, program};

#[test]
fn aoetools_read_set_and_ping() {
    for mtu in [1500, 9000] {
        let Some(lab) = Lab::new(mtu) else { return };
        let disk = lab.disk("disk", 1 << 20);
        let _target = lab.serve(&["--export", &format!("7.3={disk},serial=SERIAL7")]);
        if program("aoecfg", &["-c", "set", "-s", "hello", "7", "3", HOST]).is_none() {
            return;
        }
        assert_eq!(program("aoecfg", &["7", "3", HOST]).unwrap().trim(), "hello");
        let text = program("aoeping", &["-I", "-s", "10", "7", "3", HOST]).unwrap();
        assert!(text.contains("SERIAL7"), "{text}");
    }
}
