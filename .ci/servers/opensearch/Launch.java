import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.opensearch.analysis.common.CommonAnalysisPlugin;
import org.opensearch.common.settings.Settings;
import org.opensearch.env.Environment;
import org.opensearch.http.HttpServerTransport;
import org.opensearch.index.reindex.ReindexPlugin;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;
import org.opensearch.plugins.Plugin;
import org.opensearch.security.OpenSearchSecurityPlugin;
import org.opensearch.transport.Netty4Plugin;

/**
 * One OpenSearch node on loopback, from the jars of the public Maven repository.
 *
 * <p>The server is published there without its start script and modules directory, so this starts
 * the node in its own process and names the modules by class. Production checks (memory locking,
 * seccomp, the security manager) are left out: they guard a host, and this node lives for one test.
 *
 * <p>Usage: Launch DIRECTORY PORT [secure]. Port 0 chooses one. Prints {@code ready
 * http://HOST:PORT} when it answers, and stops at SIGTERM. {@code secure} loads the security plugin,
 * which wants {@code node.pem}, {@code node.key} and {@code opensearch-security/} in {@code
 * DIRECTORY/config}; the first answers to a user then take a few seconds more.
 */
final class Launch extends Node {
  private static final List<Class<? extends Plugin>> MODULES =
      List.of(Netty4Plugin.class, CommonAnalysisPlugin.class, ReindexPlugin.class);

  private Launch(Environment environment, List<Class<? extends Plugin>> plugins) {
    super(environment, plugins, false);
  }

  public static void main(String[] arguments) throws Exception {
    Path home = Path.of(arguments[0]).toAbsolutePath();
    Files.createDirectories(home.resolve("config"));
    boolean secure = arguments.length > 2 && arguments[2].equals("secure");
    List<Class<? extends Plugin>> plugins = new ArrayList<>(MODULES);
    Settings.Builder settings =
        Settings.builder()
            .put("path.home", home)
            .put("cluster.name", "tests")
            .put("node.name", "tests")
            .put("discovery.type", "single-node")
            .put("network.host", "127.0.0.1")
            .put("http.port", arguments[1])
            .put("transport.port", "0")
            // The free space of a test machine says nothing of the templates under test.
            .put("cluster.routing.allocation.disk.threshold_enabled", false);
    if (secure) {
      plugins.add(OpenSearchSecurityPlugin.class);
      secure(settings);
    }
    Node node =
        new Launch(
            InternalSettingsPreparer.prepareEnvironment(
                settings.build(), Map.of(), home.resolve("config"), () -> "tests"),
            plugins);
    Runtime.getRuntime().addShutdownHook(new Thread(() -> close(node)));
    node.start();
    var http = node.injector().getInstance(HttpServerTransport.class);
    System.out.println("ready http://" + http.boundAddress().publishAddress());
    Thread.currentThread().join();
  }

  /** HTTP stays plain; the plugin insists on TLS between nodes even where there is one. */
  private static void secure(Settings.Builder settings) {
    String transport = "plugins.security.ssl.transport.";
    settings
        .put(transport + "pemcert_filepath", "node.pem")
        .put(transport + "pemkey_filepath", "node.key")
        .put(transport + "pemtrustedcas_filepath", "node.pem")
        .put(transport + "enforce_hostname_verification", false)
        .put("plugins.security.allow_default_init_securityindex", true)
        .putList("plugins.security.nodes_dn", "CN=node")
        .putList("plugins.security.restapi.roles_enabled", "all_access");
  }

  private static void close(Node node) {
    try {
      node.close();
    } catch (Exception error) {
      System.err.println("the node did not close: " + error);
    }
  }
}
