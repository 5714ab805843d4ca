package careledger;

import ca.uhn.fhir.jpa.api.config.JpaStorageSettings;
import ca.uhn.fhir.jpa.api.dao.IFhirSystemDao;
import ca.uhn.fhir.jpa.provider.JpaCapabilityStatementProvider;
import ca.uhn.fhir.jpa.provider.JpaSystemProvider;
import ca.uhn.fhir.jpa.search.DatabaseBackedPagingProvider;
import ca.uhn.fhir.context.support.IValidationSupport;
import ca.uhn.fhir.rest.api.EncodingEnum;
import ca.uhn.fhir.rest.server.HardcodedServerAddressStrategy;
import ca.uhn.fhir.rest.server.RestfulServer;
import ca.uhn.fhir.rest.server.provider.ResourceProviderFactory;
import ca.uhn.fhir.rest.server.util.ISearchParamRegistry;
import java.net.InetSocketAddress;
import java.util.Objects;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Server;
import org.springframework.context.ApplicationContext;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;

/**
 * HAPI FHIR's JPA server for R4, unmodified, with the settings of its starter project, on Jetty.
 *
 * <p>Reads LISTEN (address and port), FHIR_BASE_URL, and what {@link JpaServerConfig} reads.
 */
public final class JpaServer {
  private static final int PAGE_ENTRIES = 20;
  private static final int PAGE_ENTRIES_MAX = 200;

  private JpaServer() {}

  public static void main(String[] arguments) throws Exception {
    ApplicationContext context = new AnnotationConfigApplicationContext(JpaServerConfig.class);
    ServletContextHandler handler = new ServletContextHandler();
    handler.setContextPath("/");
    handler.addServlet(new ServletHolder(servlet(context)), "/fhir/*");
    String[] listen = variable("LISTEN").split(":");
    Server server = new Server(new InetSocketAddress(listen[0], Integer.parseInt(listen[1])));
    server.setHandler(handler);
    server.start();
    server.join();
  }

  private static RestfulServer servlet(ApplicationContext context) {
    IFhirSystemDao<?, ?> system = context.getBean(IFhirSystemDao.class);
    RestfulServer servlet = new RestfulServer(system.getContext());
    servlet.registerProviders(context.getBean(ResourceProviderFactory.class).createProviders());
    servlet.registerProvider(context.getBean(JpaSystemProvider.class));
    servlet.setServerConformanceProvider(
        new JpaCapabilityStatementProvider(
            servlet,
            system,
            context.getBean(JpaStorageSettings.class),
            context.getBean(ISearchParamRegistry.class),
            context.getBean(IValidationSupport.class)));
    DatabaseBackedPagingProvider paging = context.getBean(DatabaseBackedPagingProvider.class);
    paging.setDefaultPageSize(PAGE_ENTRIES);
    paging.setMaximumPageSize(PAGE_ENTRIES_MAX);
    servlet.setPagingProvider(paging);
    servlet.setDefaultResponseEncoding(EncodingEnum.JSON);
    servlet.setServerAddressStrategy(new HardcodedServerAddressStrategy(variable("FHIR_BASE_URL")));
    return servlet;
  }

  static String variable(String name) {
    return Objects.requireNonNull(System.getenv(name), name + " is not set");
  }
}
