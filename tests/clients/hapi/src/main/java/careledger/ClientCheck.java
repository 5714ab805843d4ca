package careledger;

import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.PerformanceOptionsEnum;
import ca.uhn.fhir.parser.StrictErrorHandler;
import ca.uhn.fhir.rest.api.EncodingEnum;
import ca.uhn.fhir.rest.api.MethodOutcome;
import ca.uhn.fhir.rest.api.PreferReturnEnum;
import ca.uhn.fhir.rest.api.SearchStyleEnum;
import ca.uhn.fhir.rest.api.SearchTotalModeEnum;
import ca.uhn.fhir.rest.api.SummaryEnum;
import ca.uhn.fhir.rest.client.api.IGenericClient;
import ca.uhn.fhir.rest.client.api.ServerValidationModeEnum;
import ca.uhn.fhir.rest.client.interceptor.BearerTokenAuthInterceptor;
import ca.uhn.fhir.rest.gclient.ICriterion;
import ca.uhn.fhir.rest.param.DateRangeParam;
import ca.uhn.fhir.rest.server.exceptions.AuthenticationException;
import ca.uhn.fhir.rest.server.exceptions.BaseServerResponseException;
import ca.uhn.fhir.rest.server.exceptions.PreconditionFailedException;
import ca.uhn.fhir.rest.server.exceptions.ResourceGoneException;
import ca.uhn.fhir.rest.server.exceptions.ResourceNotFoundException;
import ca.uhn.fhir.rest.server.exceptions.UnprocessableEntityException;
import java.util.Date;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import org.hl7.fhir.instance.model.api.IBaseBundle;
import org.hl7.fhir.r4.model.Bundle;
import org.hl7.fhir.r4.model.Bundle.BundleEntryComponent;
import org.hl7.fhir.r4.model.Bundle.BundleType;
import org.hl7.fhir.r4.model.Bundle.HTTPVerb;
import org.hl7.fhir.r4.model.CapabilityStatement;
import org.hl7.fhir.r4.model.CodeType;
import org.hl7.fhir.r4.model.Condition;
import org.hl7.fhir.r4.model.Enumerations.AdministrativeGender;
import org.hl7.fhir.r4.model.IdType;
import org.hl7.fhir.r4.model.Observation;
import org.hl7.fhir.r4.model.OperationOutcome;
import org.hl7.fhir.r4.model.Parameters;
import org.hl7.fhir.r4.model.Patient;
import org.hl7.fhir.r4.model.Quantity;
import org.hl7.fhir.r4.model.Reference;
import org.hl7.fhir.r4.model.StringType;

/**
 * Drives HAPI FHIR's client, unmodified, through the interactions an EHR uses; once in JSON, once in XML.
 *
 * <p>Reads FHIR_BASE_URL and FHIR_TOKEN. Whatever HAPI's parser does not understand of an answer ends it.
 */
public final class ClientCheck {
  private static final String IDENTIFIERS = "https://example.org/hapi";
  private static final int OBSERVATIONS = 7;

  private final IGenericClient client;
  private final FhirContext context;
  private final String family;

  private ClientCheck(FhirContext context, String url, String token, EncodingEnum encoding) {
    this.context = context;
    client = context.newRestfulGenericClient(url);
    client.registerInterceptor(new BearerTokenAuthInterceptor(token));
    client.setEncoding(encoding);
    family = "Hapi" + encoding.name() + System.nanoTime();
  }

  public static void main(String[] arguments) {
    String url = variable("FHIR_BASE_URL");
    String token = variable("FHIR_TOKEN");
    FhirContext context = FhirContext.forR4();
    context.setPerformanceOptions(PerformanceOptionsEnum.DEFERRED_MODEL_SCANNING);
    context.setParserErrorHandler(new StrictErrorHandler());
    // As it comes: it asks for the capability statement before anything else, and refuses other versions of FHIR.
    context.getRestfulClientFactory().setServerValidationMode(ServerValidationModeEnum.ONCE);
    for (EncodingEnum encoding : List.of(EncodingEnum.JSON, EncodingEnum.XML)) {
      new ClientCheck(context, url, token, encoding).run();
    }
    refusesAWrongToken(context, url);
    System.out.println("HAPI's client: all interactions as expected");
  }

  private void run() {
    capabilities();
    IdType patient = create();
    reads(patient);
    updates(patient);
    patches(patient);
    conditions();
    searches(patient);
    transacts();
    operations(patient);
    histories(patient);
    refusals();
    deletes(patient);
  }

  private void capabilities() {
    CapabilityStatement statement = client.capabilities().ofType(CapabilityStatement.class).execute();
    check(statement.getFhirVersion().toCode(), "4.0.1");
    holds(statement.getRestFirstRep().getResource().stream().anyMatch(type -> "Patient".equals(type.getType())));
  }

  private IdType create() {
    MethodOutcome outcome = client.create().resource(person(family)).prefer(PreferReturnEnum.REPRESENTATION).execute();
    holds(outcome.getCreated());
    check(outcome.getId().getVersionIdPart(), "1");
    check(((Patient) outcome.getResource()).getNameFirstRep().getFamily(), family);
    MethodOutcome minimal =
        client.create().resource(person(family + "Minimal")).prefer(PreferReturnEnum.MINIMAL).execute();
    holds(minimal.getCreated() && minimal.getResource() == null);
    holds(minimal.getId().hasIdPart() && minimal.getId().hasVersionIdPart());
    MethodOutcome told =
        client.create().resource(person(family + "Told")).prefer(PreferReturnEnum.OPERATION_OUTCOME).execute();
    holds(told.getOperationOutcome() instanceof OperationOutcome);
    return (IdType) outcome.getId().toUnqualifiedVersionless();
  }

  private void reads(IdType id) {
    Patient patient = client.read().resource(Patient.class).withId(id).execute();
    check(patient.getNameFirstRep().getFamily(), family);
    check(patient.getIdElement().getVersionIdPart(), "1");
    holds(patient.getMeta().getLastUpdated() != null);
    Patient first = client.read().resource(Patient.class).withIdAndVersion(id.getIdPart(), "1").execute();
    check(first.getNameFirstRep().getFamily(), family);
    // What has not changed is not sent again.
    Patient same =
        client.read().resource(Patient.class).withId(id).ifVersionMatches("1").returnNull().execute();
    holds(same == null);
    Patient named = client.read().resource(Patient.class).withId(id).elementsSubset("name").execute();
    holds(named.hasName() && !named.hasGender());
    Patient summary = client.read().resource(Patient.class).withId(id).summaryMode(SummaryEnum.TRUE).execute();
    holds(summary.hasName());
    String url = client.getServerBase() + "/" + id.getValue();
    check(client.read().resource(Patient.class).withUrl(url).execute().getIdElement().getIdPart(), id.getIdPart());
  }

  private void updates(IdType id) {
    Patient patient = client.read().resource(Patient.class).withId(id).execute();
    patient.setGender(AdministrativeGender.OTHER);
    MethodOutcome updated =
        client.update().resource(patient).withAdditionalHeader("If-Match", "W/\"1\"").execute();
    check(updated.getId().getVersionIdPart(), "2");
    refused(
        PreconditionFailedException.class,
        () -> client.update().resource(patient).withAdditionalHeader("If-Match", "W/\"1\"").execute());
    Patient named = person(family + "Named");
    named.setId("hapi-" + System.nanoTime());
    MethodOutcome made = client.update().resource(named).execute();
    holds(made.getCreated());
    check(made.getId().getIdPart(), named.getIdElement().getIdPart());
  }

  private void patches(IdType id) {
    String operations = "[{\"op\":\"replace\",\"path\":\"/gender\",\"value\":\"female\"}]";
    MethodOutcome byPath = client.patch().withBody(operations).withId(id).execute();
    check(byPath.getId().getVersionIdPart(), "3");
    Parameters parameters = new Parameters();
    Parameters.ParametersParameterComponent operation = parameters.addParameter().setName("operation");
    operation.addPart().setName("type").setValue(new CodeType("replace"));
    operation.addPart().setName("path").setValue(new StringType("Patient.gender"));
    operation.addPart().setName("value").setValue(new CodeType("unknown"));
    MethodOutcome byFhir =
        client.patch().withFhirPatch(parameters).withId(id).prefer(PreferReturnEnum.REPRESENTATION).execute();
    check(((Patient) byFhir.getResource()).getGender(), AdministrativeGender.UNKNOWN);
    client.patch().withFhirPatch(parameters).conditional(Patient.class).where(family()).execute();
  }

  private void conditions() {
    Patient patient = person(family + "Conditional");
    patient.addIdentifier().setSystem(IDENTIFIERS).setValue(family);
    ICriterion<?> criterion = Patient.IDENTIFIER.exactly().systemAndCode(IDENTIFIERS, family);
    MethodOutcome first = client.create().resource(patient).conditional().where(criterion).execute();
    MethodOutcome second = client.create().resource(patient).conditional().where(criterion).execute();
    holds(first.getCreated());
    holds(!Boolean.TRUE.equals(second.getCreated()));
    check(first.getId().getIdPart(), second.getId().getIdPart());
    patient.setActive(true);
    patient.setId((String) null);
    MethodOutcome updated = client.update().resource(patient).conditional().where(criterion).execute();
    check(updated.getId().getIdPart(), first.getId().getIdPart());
    check(updated.getId().getVersionIdPart(), "2");
    client.delete().resourceConditionalByType(Patient.class).where(criterion).execute();
    String id = updated.getId().getIdPart();
    refused(ResourceGoneException.class, () -> client.read().resource(Patient.class).withId(id).execute());
  }

  private void searches(IdType patient) {
    for (int number = 0; number < OBSERVATIONS; number++) {
      client.create().resource(weight(patient, 70 + number)).execute();
    }
    for (SearchStyleEnum style : List.of(SearchStyleEnum.GET, SearchStyleEnum.POST)) {
      Bundle page =
          client
              .search()
              .forResource(Observation.class)
              .where(Observation.PATIENT.hasId(patient))
              .and(Observation.CODE.exactly().systemAndCode("http://loinc.org", "29463-7"))
              .sort()
              .descending(Observation.DATE)
              .count(3)
              .usingStyle(style)
              .returnBundle(Bundle.class)
              .execute();
      check(all(page), OBSERVATIONS);
    }
    Bundle heavy =
        client
            .search()
            .forResource(Observation.class)
            .where(Observation.SUBJECT.hasChainedProperty(Patient.FAMILY.matches().value(family)))
            .and(Observation.VALUE_QUANTITY.greaterThanOrEquals().number(75).andUnits("http://unitsofmeasure.org", "kg"))
            .include(Observation.INCLUDE_SUBJECT)
            .lastUpdated(new DateRangeParam(new Date(0), null))
            .returnBundle(Bundle.class)
            .execute();
    check(heavy.getTotal(), 2);
    check(heavy.getEntry().stream().filter(entry -> entry.getResource() instanceof Patient).count(), 1L);
    Bundle having =
        client
            .search()
            .forResource(Patient.class)
            .where(Patient.FAMILY.matchesExactly().value(family))
            .revInclude(Observation.INCLUDE_SUBJECT)
            .totalMode(SearchTotalModeEnum.ACCURATE)
            .returnBundle(Bundle.class)
            .execute();
    check(having.getEntry().size(), 1 + OBSERVATIONS);
    Bundle counted =
        client
            .search()
            .forResource(Observation.class)
            .where(Observation.PATIENT.hasId(patient))
            .summaryMode(SummaryEnum.COUNT)
            .returnBundle(Bundle.class)
            .execute();
    check(counted.getTotal(), OBSERVATIONS);
    Bundle byUrl = client.search().byUrl("Patient?family=" + family).returnBundle(Bundle.class).execute();
    check(byUrl.getEntry().size(), 1 + 3);
  }

  /** How many resources the pages from this one on hold. */
  private int all(Bundle first) {
    Set<String> seen = new HashSet<>();
    Bundle page = first;
    while (page != null) {
      page.getEntry().forEach(entry -> holds(seen.add(entry.getFullUrl())));
      page = page.getLink(IBaseBundle.LINK_NEXT) == null ? null : client.loadPage().next(page).execute();
    }
    return seen.size();
  }

  private void transacts() {
    String urn = "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0";
    Bundle bundle = new Bundle().setType(BundleType.TRANSACTION);
    bundle
        .addEntry()
        .setFullUrl(urn)
        .setResource(person(family + "Two"))
        .getRequest()
        .setMethod(HTTPVerb.POST)
        .setUrl("Patient")
        .setIfNoneExist("identifier=" + IDENTIFIERS + "|" + family + "Two");
    Condition condition = new Condition().setSubject(new Reference(urn));
    condition.getCode().setText("checked");
    bundle.addEntry().setResource(condition).getRequest().setMethod(HTTPVerb.POST).setUrl("Condition");
    bundle.addEntry().getRequest().setMethod(HTTPVerb.GET).setUrl("Patient?family=" + family + "Two&_summary=count");
    Bundle answer = client.transaction().withBundle(bundle).execute();
    check(answer.getType(), BundleType.TRANSACTIONRESPONSE);
    List<BundleEntryComponent> entries = answer.getEntry();
    check(entries.size(), 3);
    holds(entries.get(0).getResponse().getStatus().startsWith("201"));
    IdType location = new IdType(entries.get(1).getResponse().getLocation());
    Condition stored = client.read().resource(Condition.class).withId(location.getIdPart()).execute();
    check(
        stored.getSubject().getReferenceElement().getIdPart(),
        new IdType(entries.get(0).getResponse().getLocation()).getIdPart());
  }

  private void operations(IdType patient) {
    Bundle everything =
        client
            .operation()
            .onInstance(patient)
            .named("$everything")
            .withNoParameters(Parameters.class)
            .useHttpGet()
            .returnResourceType(Bundle.class)
            .execute();
    check(everything.getTotal(), 1 + OBSERVATIONS);
    MethodOutcome validated = client.validate().resource(person(family)).execute();
    holds(validated.getOperationOutcome() instanceof OperationOutcome);
  }

  private void histories(IdType patient) {
    Bundle ofOne = client.history().onInstance(patient).returnBundle(Bundle.class).execute();
    check(ofOne.getType(), BundleType.HISTORY);
    check(ofOne.getEntry().size(), 5);
    Bundle ofType = client.history().onType(Patient.class).returnBundle(Bundle.class).count(2).execute();
    check(ofType.getEntry().size(), 2);
    Bundle ofAll = client.history().onServer().returnBundle(Bundle.class).count(1).execute();
    check(ofAll.getEntry().size(), 1);
  }

  private void refusals() {
    BaseServerResponseException absent =
        refused(ResourceNotFoundException.class, () -> client.read().resource(Patient.class).withId("absent").execute());
    holds(absent.getOperationOutcome() instanceof OperationOutcome);
    Observation without = new Observation();
    without.getCode().setText("has no status");
    BaseServerResponseException invalid =
        refused(UnprocessableEntityException.class, () -> client.create().resource(without).execute());
    OperationOutcome why = (OperationOutcome) invalid.getOperationOutcome();
    holds(why.getIssueFirstRep().hasDiagnostics());
    holds(!context.newJsonParser().encodeResourceToString(why).contains("has no status"));
  }

  private void deletes(IdType patient) {
    MethodOutcome deleted = client.delete().resourceById(patient).execute();
    holds(deleted.getOperationOutcome() == null || deleted.getOperationOutcome() instanceof OperationOutcome);
    BaseServerResponseException gone =
        refused(ResourceGoneException.class, () -> client.read().resource(Patient.class).withId(patient).execute());
    holds(gone.getOperationOutcome() instanceof OperationOutcome);
    Bundle history = client.history().onInstance(patient).returnBundle(Bundle.class).execute();
    check(history.getEntryFirstRep().getRequest().getMethod(), HTTPVerb.DELETE);
  }

  private static void refusesAWrongToken(FhirContext context, String url) {
    IGenericClient stranger = context.newRestfulGenericClient(url);
    stranger.registerInterceptor(new BearerTokenAuthInterceptor("wrong"));
    refused(
        AuthenticationException.class, () -> stranger.read().resource(Patient.class).withId("absent").execute());
  }

  private ICriterion<?> family() {
    return Patient.FAMILY.matchesExactly().value(family);
  }

  private static Patient person(String family) {
    Patient patient = new Patient();
    patient.addName().setFamily(family).addGiven("Hapi");
    patient.setGender(AdministrativeGender.MALE);
    return patient;
  }

  private static Observation weight(IdType patient, int kilograms) {
    Observation observation = new Observation();
    observation.setStatus(Observation.ObservationStatus.FINAL);
    observation.getCode().addCoding().setSystem("http://loinc.org").setCode("29463-7");
    observation.setSubject(new Reference(patient));
    observation.setValue(
        new Quantity().setValue(kilograms).setUnit("kg").setSystem("http://unitsofmeasure.org").setCode("kg"));
    return observation;
  }

  /** What the server refuses in the way that HAPI names so. */
  private static BaseServerResponseException refused(
      Class<? extends BaseServerResponseException> kind, Runnable request) {
    try {
      request.run();
    } catch (BaseServerResponseException refusal) {
      if (!kind.isInstance(refusal)) {
        throw new AssertionError("expected " + kind.getSimpleName(), refusal);
      }
      return refusal;
    }
    throw new AssertionError("not refused; expected " + kind.getSimpleName());
  }

  private static void check(Object found, Object expected) {
    if (!Objects.equals(found, expected)) {
      throw new AssertionError("expected " + expected + " and found " + found);
    }
  }

  private static void holds(boolean condition) {
    if (!condition) {
      throw new AssertionError("does not hold: the condition at the line that called");
    }
  }

  private static String variable(String name) {
    String value = System.getenv(name);
    if (value == null || value.isEmpty()) {
      throw new IllegalStateException("set " + name);
    }
    return value;
  }
}
