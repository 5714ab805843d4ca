//! One file per FHIR interaction.
