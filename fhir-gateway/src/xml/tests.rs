//! XML that is read, written and refused.

mod any_resource;

use super::*;
use crate::{json::Document, outcome::Refusal, validate};

fn from_xml(text: &str) -> Result<String, Refusal> {
    let document = read(&text.as_bytes().to_vec().into())?;
    match validate::findings(&document).into_iter().next() {
        Some(refusal) => Err(refusal),
        None => Ok(String::from_utf8(document.bytes().to_vec()).expect("UTF-8")),
    }
}

fn to_xml(json: &str) -> Result<String, Refusal> {
    let written = write(&Document::parse(json.as_bytes().to_vec()).expect("JSON"))?;
    Ok(String::from_utf8(written).expect("UTF-8"))
}

const HEAD: &str = r#"<?xml version="1.0" encoding="UTF-8"?>"#;

#[test]
fn json_and_xml_say_the_same_both_ways() {
    for (json, xml) in [
        (
            r#"{"resourceType":"Patient","id":"a","active":true}"#,
            r#"<Patient xmlns="http://hl7.org/fhir"><id value="a"/><active value="true"/></Patient>"#,
        ),
        // Ids and extensions of primitives, with and without values, in arrays too.
        (
            r#"{"resourceType":"Patient","name":[{"id":"n","given":["a",null],"_given":[null,{"id":"g","extension":[{"url":"urn:x","valueDecimal":1.00}]}]}],"_birthDate":{"extension":[{"url":"urn:y","valueCode":"unknown"}]}}"#,
            r#"<Patient xmlns="http://hl7.org/fhir"><name id="n"><given value="a"/><given id="g"><extension url="urn:x"><valueDecimal value="1.00"/></extension></given></name><birthDate><extension url="urn:y"><valueCode value="unknown"/></extension></birthDate></Patient>"#,
        ),
        // Narrative is the same bytes; what is contained keeps its type.
        (
            r##"{"resourceType":"Patient","text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\"><p  class='a'>1 &lt; 2\r\n<!-- c --></p ></div>"},"contained":[{"resourceType":"Organization","id":"o","name":"x"}],"managingOrganization":{"reference":"#o"}}"##,
            "<Patient xmlns=\"http://hl7.org/fhir\"><text><status value=\"generated\"/><div xmlns=\"http://www.w3.org/1999/xhtml\"><p  class='a'>1 &lt; 2\r\n<!-- c --></p ></div></text><contained><Organization><id value=\"o\"/><name value=\"x\"/></Organization></contained><managingOrganization><reference value=\"#o\"/></managingOrganization></Patient>",
        ),
        // White space and signs within values.
        (
            "{\"resourceType\":\"Patient\",\"identifier\":[{\"value\":\" a\\t\\n\\r<&>\\\"'é😀 \"}]}",
            "<Patient xmlns=\"http://hl7.org/fhir\"><identifier><value value=\" a&#9;&#10;&#13;&lt;&amp;&gt;&quot;'é😀 \"/></identifier></Patient>",
        ),
        (
            r#"{"resourceType":"Bundle","type":"batch","entry":[{"resource":{"resourceType":"Patient","multipleBirthInteger":-2},"request":{"method":"POST","url":"Patient"}},{"request":{"method":"GET","url":"Patient?a=b&c=d"}}]}"#,
            r#"<Bundle xmlns="http://hl7.org/fhir"><type value="batch"/><entry><resource><Patient><multipleBirthInteger value="-2"/></Patient></resource><request><method value="POST"/><url value="Patient"/></request></entry><entry><request><method value="GET"/><url value="Patient?a=b&amp;c=d"/></request></entry></Bundle>"#,
        ),
        (
            r#"{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":-1.50E+3}}"#,
            r#"<Observation xmlns="http://hl7.org/fhir"><status value="final"/><code><text value="x"/></code><valueQuantity><value value="-1.50E+3"/></valueQuantity></Observation>"#,
        ),
        (r#"{"resourceType":"Patient"}"#, r#"<Patient xmlns="http://hl7.org/fhir"></Patient>"#),
    ] {
        assert_eq!(to_xml(json).as_deref(), Ok(format!("{HEAD}{xml}").as_str()));
        assert_eq!(from_xml(xml).as_deref(), Ok(json));
    }
}

#[test]
fn what_is_not_part_of_a_resource_is_passed_over() {
    let xml = "\u{feff}<?xml version='1.0' encoding='utf-8'?>\n<?xml-stylesheet href=\"a\"?><!-- a -->\n<Patient xmlns='http://hl7.org/fhir'
        xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance' xsi:schemaLocation='http://hl7.org/fhir x.xsd'>
        <!-- <active value='false'/> --><active value='true'></active>\n</Patient>\n<!-- b -->";
    assert_eq!(from_xml(xml).as_deref(), Ok(r#"{"resourceType":"Patient","active":true}"#));
    let values =
        "<Patient xmlns='http://hl7.org/fhir'><identifier><value value='a\tb\nc&#x41;&quot;'/></identifier></Patient>";
    assert_eq!(from_xml(values).as_deref(), Ok(r#"{"resourceType":"Patient","identifier":[{"value":"a b cA\""}]}"#));
}

#[test]
fn what_is_not_fhir_xml_is_refused_with_its_place() {
    let patient = |inner: &str| format!("<Patient xmlns=\"http://hl7.org/fhir\">\n{inner}</Patient>");
    for (xml, path, line) in [
        ("<Patient/>".to_owned(), "Patient", 1),
        ("<Patient xmlns=\"urn:x\"/>".to_owned(), "Patient", 1),
        ("<f:Patient xmlns:f=\"http://hl7.org/fhir\"/>".to_owned(), "Resource", 1),
        ("<Patiant xmlns=\"http://hl7.org/fhir\"/>".to_owned(), "Resource", 1),
        ("<HumanName xmlns=\"http://hl7.org/fhir\"/>".to_owned(), "Resource", 1),
        (patient("<nmae/>"), "Patient.nmae", 2),
        (patient("<name>\n<family value=\"\"/></name>"), "Patient.name[0].family", 3),
        (patient("<name/>"), "Patient.name[0]", 2),
        (patient("<active/>"), "Patient.active", 2),
        (patient("<active value=\"yes\"/>"), "Patient.active", 2),
        (patient("<active value=\"true\" x=\"1\"/>"), "Patient.active", 2),
        (patient("<active value=\"true\">x</active>"), "Patient.active", 2),
        (patient("<active value=\"true\"/>\n<active value=\"true\"/>"), "Patient.active", 3),
        (patient("<gender value=\"male\"/>\n<active value=\"true\"/>"), "Patient.active", 3),
        (patient("<name><family value=\"a\"/></name><active value=\"true\"/>"), "Patient.active", 2),
        (patient("<multipleBirthInteger value=\"01\"/>"), "Patient.multipleBirthInteger", 2),
        (patient("<deceasedBoolean value=\"true\"/><deceasedDateTime value=\"2020\"/>"), "Patient.deceased[x]", 1),
        (patient("<extension><url value=\"urn:x\"/></extension>"), "Patient.extension[0].url", 2),
        (patient("<contained/>"), "Patient.contained[0]", 2),
        (patient("<contained><Nope/></contained>"), "Patient.contained[0]", 2),
        (patient("<text><status value=\"generated\"/>\n<div>x</div></text>"), "Patient.text.div", 3),
        (
            patient(
                "<text><status value=\"generated\"/><div xmlns=\"http://www.w3.org/1999/xhtml\"><script/>x</div></text>",
            ),
            "Patient.text.div",
            2,
        ),
        (patient("<name xmlns=\"urn:x\"/>"), "Patient.name[0]", 2),
        (patient("text"), "Patient", 1),
        (patient("<![CDATA[text]]>"), "Patient", 2),
        (patient("&lt;"), "Patient", 2),
    ] {
        match from_xml(&xml) {
            Err(Refusal::Invalid { path: found, position, .. }) => {
                assert_eq!((found.as_str(), position.map(|at| at.line)), (path, Some(line)), "{xml}");
            }
            other => panic!("{xml}: {other:?}"),
        }
    }
}

#[test]
fn what_is_no_xml_or_dangerous_is_refused_as_a_whole() {
    let lines: String =
        (1..100).map(|at| format!("<!ENTITY l{at} \"&l{before};&l{before};\">", before = at - 1)).collect();
    let patient = |inner: &str| format!("<Patient xmlns=\"http://hl7.org/fhir\">{inner}</Patient>");
    let extensions = |depth: usize| {
        let open = "<extension url=\"urn:x\">".repeat(depth);
        patient(&format!("{open}{}", "</extension>".repeat(depth)))
    };
    for xml in [
        String::new(),
        "  ".to_owned(),
        "x".to_owned(),
        "{}".to_owned(),
        "<Patient".to_owned(),
        "<Patient xmlns=\"http://hl7.org/fhir\">".to_owned(),
        "<Patient xmlns=\"http://hl7.org/fhir\"></Patent>".to_owned(),
        patient("<active value=true/>"),
        patient("<active value=\"true\" value=\"true\"/>"),
        patient("<active value=\"a<b\"/>"),
        patient("<language value=\"&nbsp;\"/>"),
        patient("<language value=\"&#0;\"/>"),
        patient("<language value=\"a & b\"/>"),
        patient("") + &patient(""),
        format!("<!DOCTYPE Patient [<!ENTITY l0 \"lol\">{lines}]>{}", patient("<language value=\"&l99;\"/>")),
        format!(
            "<!DOCTYPE Patient [<!ENTITY x SYSTEM \"file:///etc/passwd\">]>{}",
            patient("<language value=\"&x;\"/>")
        ),
        format!("<!DOCTYPE Patient SYSTEM \"http://127.0.0.1/a.dtd\">{}", patient("")),
        format!("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>{}", patient("")),
        format!("<?xml version=\"1.1\"?>{}", patient("")),
        format!(" <?xml version=\"1.0\"?>{}", patient("")),
        extensions(65),
        extensions(100_000),
        format!("<Patient xmlns=\"http://hl7.org/fhir\">{}", "<extension url=\"urn:x\">".repeat(100_000)),
    ] {
        let shown: String = xml.chars().take(200).collect();
        assert!(matches!(from_xml(&xml), Err(Refusal::Malformed { .. })), "{shown}: {:?}", from_xml(&xml).err());
    }
    assert!(matches!(read(&vec![b'<', 0xff].into()), Err(Refusal::Malformed { .. })));
}

#[test]
fn what_xml_has_not_is_never_written() {
    for json in [
        r#"{"resourceType":"Patient","nmae":1}"#,
        r#"{"resourceType":"Spaceship"}"#,
        r#"{"resourceType":"Patient","language":"\u0007"}"#,
        r#"{"resourceType":"Patient","language":{}}"#,
        r#"{"resourceType":"Patient","name":[null]}"#,
        r#"{"resourceType":"Patient","text":{"status":"generated","div":"<script>"}}"#,
        r#"{"resourceType":"Patient","text":{"status":"generated","div":"</text><active value='true'/><text>"}}"#,
        "[]",
    ] {
        assert!(matches!(to_xml(json), Err(Refusal::NotInXml(_))), "{json}");
    }
}

mod damaged {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn damaged_xml_never_panics(at in any::<prop::sample::Index>(), with in any::<u8>()) {
            let xml = concat!(
                "<?xml version=\"1.0\"?><Patient xmlns=\"http://hl7.org/fhir\"><text><status value=\"generated\"/>",
                "<div xmlns=\"http://www.w3.org/1999/xhtml\">a&amp;<b>c</b><!-- d --></div></text><name id=\"n\">",
                "<given value=\"a&#10;\"/><given><extension url=\"urn:x\"><valueDecimal value=\"1.0\"/></extension></given>",
                "</name></Patient>",
            );
            let mut bytes = xml.as_bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] = with;
            for bytes in [bytes.clone(), bytes[..at].to_vec()] {
                if let Ok(document) = read(&bytes.into())
                    && validate::findings(&document).is_empty()
                {
                    let again = read(&write(&document).expect("what is valid has an XML form").into()).expect("it is XML");
                    prop_assert_eq!(again.bytes(), document.bytes());
                }
            }
        }
    }
}
