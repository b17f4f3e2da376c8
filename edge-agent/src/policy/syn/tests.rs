use super::*;

fn pattern(text: &str) -> SynPattern {
    text.parse().unwrap_or_else(|fault| panic!("{text}: {fault:?}"))
}

#[test]
fn signatures_of_p0f_are_read_and_written() {
    for (written, form) in [
        ("4:64:0:*:mss*10,6:mss,sok,ts,nop,ws:df,id+:0", "4:64:0:*:mss*10,6:mss,sok,ts,nop,ws:df,id+:0"),
        ("*:128:0:1460:8192,0:mss,nop,nop,sok:df,id+:0", "*:128:0:1460:8192,none:mss,nop,nop,sok:df,id+:0"),
        ("4:50+14:0:1460:mss*44,0:mss,ws:id+,df:0", "4:64:0:1460:mss*44,0:mss,ws:df,id+:0"),
        ("6:64-:*:*:%8192,*:mss,eol+1:flow:*", "6:64:*:*:%8192,*:mss,eol+1:flow:*"),
        ("4:60:0:*:mtu*4,none:mss,?27,eol+0::+", "4:64:0:*:mtu*4,none:mss,?27,eol+0::+"),
        ("*:*:*:*:*,*:*:*:*", "*:*:*:*:*,*:*:*:*"),
    ] {
        let read = pattern(written);
        assert_eq!(read.to_string(), form, "{written}");
        assert_eq!(pattern(form), read);
    }
    let linux = pattern("4:64:0:*:mss*10,6:mss,sok,ts,nop,ws,eol+1:df,id+:0");
    assert_eq!(linux.options, Some(vec![2, 4, 8, 1, 3, 0, 0]));
    assert_eq!((linux.quirks, linux.payload), (Some(quirk::DF | quirk::ID_NONZERO), Some(false)));
}

#[test]
fn what_is_none_is_refused_with_its_reason() {
    for (text, part) in [
        ("4:64:0:*:mss*10,6:mss:df", "it has 7 fields"),
        ("s:unix:Linux:3.x:4:64:0:*:mss*10,6:mss:df:0", "the label of p0f.fp"),
        ("5:64:0:*:mss*10,6:mss:df:0", "`5` is no IP version"),
        ("4:256:0:*:mss*10,6:mss:df:0", "`256` is no time to live"),
        ("4:200+100:0:*:mss*10,6:mss:df:0", "no time to live"),
        ("4:64:0:*:mss*10:mss:df:0", "scale is missing"),
        ("4:64:0:*:mss*256,6:mss:df:0", "`mss*256` is no window"),
        ("4:64:0:*:%0,6:mss:df:0", "`%0` is no window"),
        ("4:64:0:*:1,6:mss,wss:df:0", "`wss` is no TCP option"),
        ("4:64:0:*:1,6:mss:dff:0", "`dff` is no quirk"),
        ("4:64:0:*:1,6:mss:ack-:0", "a quirk of answers"),
        ("4:64:0:*:1,6:mss:df:1", "neither `0`"),
    ] {
        let fault = text.parse::<SynPattern>().expect_err(text);
        assert!(fault.message.contains(part), "{text}: {fault:?}");
    }
}

#[test]
fn what_no_segment_has_is_refused() {
    for (text, part) in [
        ("4:64:0:*:*,6:mss:df:0", "and no such option"),
        ("4:64:0:*:*,none:mss,ws:df:0", "the option and no window scale"),
        ("4:64:0:1460:*,none:nop:df:0", "has an MSS"),
        ("4:64:0:*:mss*4,none:nop:df:0", "has an MSS"),
        ("4:64:0:*:*,none:eol+1,mss:df:0", "after their end"),
        ("4:64:0:*:*,*:*:flow:0", "the other IP version has `flow`"),
        ("6:64:0:*:*,*:*:df,id+:0", "the other IP version has `df,id+`"),
        ("6:64:4:*:*,*:*::0", "IPv6 has no such options"),
    ] {
        let fault = check(&pattern(text)).expect_err(text);
        assert!(fault.message.contains(part), "{text}: {fault:?}");
    }
}

#[test]
fn a_quirk_of_one_family_is_not_asked_of_the_other() {
    let shown = |text| of_families(pattern(text)).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(shown("*:64:0:*:*,*:*:df,id+,ecn:0"), ["4:64:0:*:*,*:*:df,id+,ecn:0", "6:64:0:*:*,*:*:ecn:0"]);
    assert_eq!(shown("*:64:0:*:*,*:*:ecn:0"), ["*:64:0:*:*,*:*:ecn:0"]);
    assert_eq!(shown("4:64:0:*:*,*:*:df:0"), ["4:64:0:*:*,*:*:df:0"]);
}
