package careledger;

import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport;
import ca.uhn.fhir.validation.FhirValidator;
import ca.uhn.fhir.validation.ResultSeverityEnum;
import ca.uhn.fhir.validation.SingleValidationMessage;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService;
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.SnapshotGeneratingValidationSupport;
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain;
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator;
import org.hl7.fhir.r5.utils.validation.constants.BestPracticeWarningLevel;

/**
 * HAPI FHIR's instance validator over the answers of a gateway.
 *
 * <p>Takes the folder of the answers ({@code NAME.json} or {@code NAME.xml}, and {@code NAME.request} with the request)
 * and the file of exceptions. Prints what the validator calls an error and no exception explains, and fails then.
 */
public final class ResponseCheck {
  /** How many answers are named for each kind of error. */
  private static final int EXAMPLES = 3;

  /** A kind of error that is known, and why it may stand. */
  private record Exempted(Pattern message, String reason) {}

  /** One error of one answer. */
  private record Found(String answer, String location, String message) {}

  private final FhirValidator validator;
  private final Path folder;
  private final List<Exempted> exceptions;
  private final Map<String, AtomicInteger> excused = new ConcurrentHashMap<>();
  private final Collection<Found> errors = new ConcurrentLinkedQueue<>();

  private ResponseCheck(Path folder, List<Exempted> exceptions) {
    this.folder = folder;
    this.exceptions = exceptions;
    FhirContext context = FhirContext.forR4();
    FhirInstanceValidator instances =
        new FhirInstanceValidator(
            new ValidationSupportChain(
                new DefaultProfileValidationSupport(context),
                new CommonCodeSystemsTerminologyService(context),
                new InMemoryTerminologyServerValidationSupport(context),
                new SnapshotGeneratingValidationSupport(context)));
    instances.setAnyExtensionsAllowed(true);
    // Guides' profiles that answers claim are judged by the guides' own tests.
    instances.setErrorForUnknownProfiles(false);
    instances.setBestPracticeWarningLevel(BestPracticeWarningLevel.Ignore);
    validator = context.newValidator().registerValidatorModule(instances);
  }

  public static void main(String[] arguments) throws IOException {
    if (arguments.length != 2) {
      throw new IllegalArgumentException("ResponseCheck FOLDER EXCEPTIONS");
    }
    Path folder = Path.of(arguments[0]);
    List<Path> answers;
    try (Stream<Path> files = Files.list(folder)) {
      answers = files.filter(file -> file.toString().matches(".*\\.(json|xml)")).sorted().toList();
    }
    if (answers.isEmpty()) {
      throw new IllegalStateException("there are no answers in " + folder);
    }
    ResponseCheck check = new ResponseCheck(folder, exceptions(Path.of(arguments[1])));
    // The first one alone: it loads the definitions.
    check.validate(answers.get(0));
    answers.subList(1, answers.size()).parallelStream().forEach(check::validate);
    System.exit(check.report(answers.size()) ? 0 : 1);
  }

  private void validate(Path answer) {
    String text;
    String asked;
    try {
      text = Files.readString(answer);
      asked = request(nameOf(answer));
    } catch (IOException fault) {
      throw new UncheckedIOException(fault);
    }
    for (SingleValidationMessage message : validator.validateWithResult(text).getMessages()) {
      if (message.getSeverity().ordinal() < ResultSeverityEnum.ERROR.ordinal()) {
        continue;
      }
      String said = asked + " at " + message.getLocationString() + ": " + message.getMessage();
      exceptions.stream()
          .filter(exception -> exception.message().matcher(said).find())
          .findFirst()
          .ifPresentOrElse(
              exception -> count(exception),
              () -> errors.add(new Found(nameOf(answer), message.getLocationString(), message.getMessage())));
    }
  }

  /** What was asked, as the tests noted it. */
  private String request(String answer) throws IOException {
    return Files.readString(folder.resolve(answer + ".request")).strip();
  }

  private void count(Exempted exception) {
    excused.computeIfAbsent(exception.message().pattern(), pattern -> new AtomicInteger()).incrementAndGet();
  }

  /** Prints what was found; whether all is well. */
  private boolean report(int answers) throws IOException {
    Map<String, List<Found>> kinds = new TreeMap<>();
    for (Found error : errors) {
      kinds.computeIfAbsent(kindOf(error), kind -> new ArrayList<>()).add(error);
    }
    for (Map.Entry<String, List<Found>> kind : kinds.entrySet()) {
      System.out.println(kind.getValue().size() + " × " + kind.getKey());
      for (Found error : kind.getValue().subList(0, Math.min(EXAMPLES, kind.getValue().size()))) {
        System.out.println("    " + error.answer() + " (" + request(error.answer()) + ") at " + error.location());
        System.out.println("        " + error.message());
      }
    }
    for (Exempted exception : exceptions) {
      AtomicInteger count = excused.get(exception.message().pattern());
      String seen = count == null ? "not met in this run" : count + " errors";
      System.out.println("excepted: " + seen + ": " + exception.reason());
    }
    System.out.println(answers + " answers, " + errors.size() + " errors that nothing explains");
    return errors.isEmpty();
  }

  /** The message without what differs between answers. */
  private static String kindOf(Found error) {
    return error.message().replaceAll("'[^']*'", "'…'").replaceAll("[0-9]+", "0");
  }

  private static String nameOf(Path answer) {
    String file = answer.getFileName().toString();
    return file.substring(0, file.lastIndexOf('.'));
  }

  /** Lines of a pattern, each below the comment that says why it may stand. */
  private static List<Exempted> exceptions(Path file) throws IOException {
    List<Exempted> found = new ArrayList<>();
    StringBuilder reason = new StringBuilder();
    for (String line : Files.readAllLines(file)) {
      if (line.startsWith("#")) {
        reason.append(reason.isEmpty() ? "" : " ").append(line.substring(1).strip());
      } else if (line.isBlank()) {
        reason.setLength(0);
      } else if (reason.isEmpty()) {
        throw new IllegalStateException(file + ": no reason stands above: " + line);
      } else {
        found.add(new Exempted(Pattern.compile(line), reason.toString()));
      }
    }
    return found;
  }
}
