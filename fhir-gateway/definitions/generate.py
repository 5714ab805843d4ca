#!/usr/bin/env python3
"""Makes elements.txt, codes.txt and search.txt from the official FHIR R4 (4.0.1) definitions.

    npm pack hl7.fhir.r4.examples@4.0.1 && tar xzf hl7.fhir.r4.examples-4.0.1.tgz
    python3 generate.py package KEPT...

KEPT are the resource types whose search parameters are wanted. The definitions are CC0-1.0.

elements.txt   a type, then its elements, indented:  name min max type [choice=NAME] [codes=N]
codes.txt      N, then the codes of one required binding
search.txt     a resource type, then its parameters, indented:  code type path:leaf ...
               a path step may carry a filter `telecom[system=phone]`; `->Patient` after the leaf
               keeps references to that type only
"""
import glob
import json
import os
import re
import sys

package, kept = sys.argv[1], sys.argv[2:]


def load(kind):
    for name in sorted(glob.glob(os.path.join(package, kind + "-*.json"))):
        with open(name, encoding="utf-8") as file:
            resource = json.load(file)
        if resource.get("resourceType") == kind:
            yield resource


definitions = {
    d["type"]: d for d in load("StructureDefinition")
    if d.get("derivation") != "constraint" and d["kind"] in ("resource", "complex-type") and "snapshot" in d
}
value_sets = {v["url"]: v for v in load("ValueSet")}
code_systems = {c["url"]: c for c in load("CodeSystem")}


def concepts(system):
    found = []

    def walk(items):
        for item in items:
            found.append(item["code"])
            walk(item.get("concept", []))

    walk(system.get("concept", []))
    return found


def expand(url, seen=()):
    """Every code of a value set, or None where the package does not list them all."""
    value_set = value_sets.get(url.split("|")[0])
    if value_set is None or url in seen or value_set.get("compose", {}).get("exclude"):
        return None
    codes = []
    for include in value_set.get("compose", {}).get("include", []):
        if include.get("filter"):
            return None
        for other in include.get("valueSet", []):
            more = expand(other, seen + (url,))
            if more is None:
                return None
            codes += more
        if "concept" in include:
            codes += [c["code"] for c in include["concept"]]
        elif "system" in include:
            system = code_systems.get(include["system"])
            if system is None or system.get("content") != "complete":
                return None
            codes += concepts(system)
    return codes or None


bindings = {}


def binding(element):
    found = element.get("binding", {})
    if found.get("strength") != "required" or "valueSet" not in found:
        return None
    codes = expand(found["valueSet"])
    if codes is None or len(codes) > 200:
        return None
    return bindings.setdefault(tuple(sorted(set(codes))), len(bindings))


def upper(name):
    return name[0].upper() + name[1:]


def type_code(one):
    code = one["code"]
    if code.startswith("http://hl7.org/fhirpath/System."):
        for extension in one.get("extension", []):
            if extension["url"].endswith("structuredefinition-fhir-type"):
                return extension["valueUrl"]
        return "string"
    return code


types = {}  # type name -> list of (name, min, max, type, choice, binding)


def block(path, elements):
    """Elements directly under `path`."""
    lines = []
    for element in elements:
        parent, _, name = element["path"].rpartition(".")
        if parent != path or element.get("max") == "0":
            continue
        low, high = element["min"], element["max"]
        if "contentReference" in element:
            lines.append((name, low, high, element["contentReference"].lstrip("#"), None, None))
            continue
        codes = [type_code(one) for one in element.get("type", [])]
        if name.endswith("[x]"):
            stem = name[:-3]
            for code in codes:
                lines.append((stem + upper(code), low, high, code, stem, None))
            continue
        code = codes[0]
        if code in ("BackboneElement", "Element") and any(e["path"].startswith(element["path"] + ".") for e in elements):
            code = element["path"]
            block(code, elements)
        if code in definitions and definitions[code]["kind"] == "resource":
            code = "Resource"
        if element["path"].endswith(".id") and element["path"].count(".") == 1 and definitions[path]["kind"] == "resource":
            code = "id"
        lines.append((name, low, high, code, None, binding(element) if code == "code" else None))
    types[path] = lines


for name, definition in definitions.items():
    block(name, definition["snapshot"]["element"])

with open("elements.txt", "w", encoding="utf-8") as out:
    for name in sorted(types):
        resource = "resource " if definitions.get(name, {}).get("kind") == "resource" and not definitions[name].get("abstract") else ""
        out.write(f"{resource}{name}\n")
        for element, low, high, code, choice, codes in types[name]:
            extra = (f" choice={choice}" if choice else "") + (f" codes={codes}" if codes is not None else "")
            out.write(f" {element} {low} {'1' if high == '1' else '*'} {code}{extra}\n")

with open("codes.txt", "w", encoding="utf-8") as out:
    for codes, number in sorted(bindings.items(), key=lambda item: item[1]):
        out.write(f"{number} {' '.join(codes)}\n")

LEAVES = {
    "token": {"Coding", "CodeableConcept", "Identifier", "code", "boolean", "ContactPoint", "string", "uri", "id"},
    "date": {"date", "dateTime", "instant", "Period", "Timing"},
    "reference": {"Reference", "canonical", "uri"},
    "string": {"string", "HumanName", "Address", "markdown"},
    "quantity": {"Quantity", "Money", "Age", "Duration"},
    "number": {"integer", "decimal", "positiveInt", "unsignedInt"},
    "uri": {"uri", "url", "canonical", "oid", "uuid"},
}


def leaves(start, steps):
    """(JSON path, leaf type) pairs below type `start`."""
    if not steps:
        return [("", start)]
    step, rest = steps[0], steps[1:]
    name, filtered = (re.match(r"^([a-zA-Z]+)(\[.*\])?$", step)).groups()
    found = []
    for element, _, _, code, choice, _ in types.get(start, []):
        if element == name or choice == name:
            for path, leaf in leaves(code, rest):
                found.append((element + (filtered or "") + ("." + path if path else ""), leaf))
    return found


def parts(base, expression):
    for part in expression.split("|"):
        part = part.strip().strip("()").strip()
        target = None
        cast = None
        match = re.search(r"\.where\(resolve\(\) is ([A-Za-z]+)\)?$", part)
        if match:
            target, part = match.group(1), part[: match.start()]
        match = re.match(r"^(.*?)\)? as ([A-Za-z]+)$", part)
        if match:
            part, cast = match.group(1).strip("("), match.group(2)
        match = re.search(r"\.as\(([A-Za-z]+)\)?$", part)
        if match:
            part, cast = part[: match.start()], match.group(1)
        part = re.sub(r"\.where\((\w+)='([\w-]+)'\)?", r"[\1=\2]", part)
        head, _, path = part.partition(".")
        if head in (base, "Resource", "DomainResource") and re.match(r"^[A-Za-z.\[\]=_-]+$", path):
            yield path.split("."), cast, target


def special(base, code):
    if (base, code) == ("Patient", "deceased"):
        return ["deceasedBoolean:boolean", "deceasedDateTime:dateTime"]
    return None


parameters = {}
skipped = []
for parameter in load("SearchParameter"):
    if "expression" not in parameter or parameter["type"] not in LEAVES:
        continue
    for base in parameter["base"]:
        wanted = kept if base in ("Resource", "DomainResource") else [base] if base in kept else []
        for resource in wanted:
            code, kind = parameter["code"], parameter["type"]
            if code in ("_id", "_lastUpdated", "_query", "_text", "_content", "_has", "_filter", "_type", "_list", "phonetic"):
                continue
            found = special(resource, code) or []
            if not found:
                for steps, cast, target in parts(resource, parameter["expression"]):
                    for path, leaf in leaves(resource, steps):
                        if leaf in LEAVES[kind] and cast in (None, leaf):
                            suffix = f"->{target}" if target else ""
                            entry = f"{path}:{leaf}{suffix}"
                            if entry not in found:
                                found.append(entry)
            if found:
                parameters.setdefault(resource, {})[code] = (kind, found)
            else:
                skipped.append(f"{resource}.{code}")

with open("search.txt", "w", encoding="utf-8") as out:
    for resource in sorted(parameters):
        out.write(f"{resource}\n")
        for code, (kind, found) in sorted(parameters[resource].items()):
            out.write(f" {code} {kind} {' '.join(found)}\n")
print("types", len(types), "bindings", len(bindings), "skipped", skipped)
