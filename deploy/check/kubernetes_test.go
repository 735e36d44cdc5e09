// Package check decodes the manifests and the alerts that are shipped as
// strictly as those who use them, and compares them with the program.
package check

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// overlay is what `kubectl apply -k` would apply.
type overlay struct {
	accounts    []corev1.ServiceAccount
	claims      []corev1.PersistentVolumeClaim
	configs     []corev1.ConfigMap
	deployments []appsv1.Deployment
	cronjobs    []batchv1.CronJob
	jobs        []batchv1.Job
}

func build(t *testing.T, name string) overlay {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("../kubernetes/overlays", name))
	if err != nil {
		t.Fatal(err)
	}
	return buildIn(t, name, dir)
}

func buildIn(t *testing.T, name, dir string) overlay {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	var o overlay
	for _, r := range resources.Resources() {
		text, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		switch kind := r.GetKind(); kind {
		case "ServiceAccount":
			o.accounts = append(o.accounts, decode[corev1.ServiceAccount](t, text))
		case "PersistentVolumeClaim":
			o.claims = append(o.claims, decode[corev1.PersistentVolumeClaim](t, text))
		case "ConfigMap":
			o.configs = append(o.configs, decode[corev1.ConfigMap](t, text))
		case "Deployment":
			o.deployments = append(o.deployments, decode[appsv1.Deployment](t, text))
		case "CronJob":
			o.cronjobs = append(o.cronjobs, decode[batchv1.CronJob](t, text))
		case "Job":
			o.jobs = append(o.jobs, decode[batchv1.Job](t, text))
		default:
			t.Errorf("%s has a %s, which nothing here checks", name, kind)
		}
	}
	if len(o.accounts) != 1 || len(o.claims) != 1 || len(o.configs) != 1 || len(o.deployments)+len(o.cronjobs)+len(o.jobs) != 1 {
		t.Fatalf("%s has %d accounts, %d claims, %d configurations, %d workloads, want one of each",
			name, len(o.accounts), len(o.claims), len(o.configs), len(o.deployments)+len(o.cronjobs)+len(o.jobs))
	}
	return o
}

// decode refuses keys that the API does not know, which it would drop without
// a word.
func decode[T any](t *testing.T, text []byte) (v T) {
	t.Helper()
	if err := yaml.UnmarshalStrict(text, &v); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	return v
}

// pod is the workload's, whatever kind it is of.
func (o overlay) pod() corev1.PodTemplateSpec {
	switch {
	case len(o.deployments) > 0:
		return o.deployments[0].Spec.Template
	case len(o.cronjobs) > 0:
		return o.cronjobs[0].Spec.JobTemplate.Spec.Template
	default:
		return o.jobs[0].Spec.Template
	}
}

var overlays = []string{"cronjob", "deployment", "ledger"}

// A misspelt key must not pass, or the strict decoding checks nothing.
func TestDecodingIsStrict(t *testing.T) {
	t.Parallel()
	var v corev1.ServiceAccount
	if err := yaml.UnmarshalStrict([]byte("automountServiceAcountToken: false\n"), &v); err == nil {
		t.Error("a misspelt key passes")
	}
}

func TestPodsAreRestricted(t *testing.T) {
	t.Parallel()
	for _, name := range overlays {
		o := build(t, name)
		spec := o.pod().Spec
		c := spec.Containers[0]
		holds := map[string]bool{
			"one container, called tsupload":        len(spec.Containers) == 1 && c.Name == "tsupload",
			"an image with a tag":                   regexp.MustCompile(`^ghcr\.io/exampleco/tsupload:\d`).MatchString(c.Image),
			"not root":                              *spec.SecurityContext.RunAsNonRoot && *spec.SecurityContext.RunAsUser == 65532,
			"the seccomp profile of the runtime":    spec.SecurityContext.SeccompProfile.Type == corev1.SeccompProfileTypeRuntimeDefault,
			"modes of the volume changed once only": *spec.SecurityContext.FSGroupChangePolicy == corev1.FSGroupChangeOnRootMismatch,
			"a read-only root":                      *c.SecurityContext.ReadOnlyRootFilesystem,
			"no new privileges":                     !*c.SecurityContext.AllowPrivilegeEscalation,
			"no capabilities":                       slices.Equal(c.SecurityContext.Capabilities.Drop, []corev1.Capability{"ALL"}) && c.SecurityContext.Capabilities.Add == nil,
			"no token of Kubernetes":                !*spec.AutomountServiceAccountToken && !*o.accounts[0].AutomountServiceAccountToken && spec.ServiceAccountName == o.accounts[0].Name,
			"a claim of one node's":                 slices.Equal(o.claims[0].Spec.AccessModes, []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}),
			"a limit on memory":                     !c.Resources.Limits.Memory().IsZero(),
		}
		for what, ok := range holds {
			if !ok {
				t.Errorf("%s: not so: %s", name, what)
			}
		}
	}
}

// Every volume is there and mounted where the configuration looks.
func TestPodsFitTheConfiguration(t *testing.T) {
	t.Parallel()
	for _, name := range overlays {
		o := build(t, name)
		spec := o.pod().Spec
		mounts := map[string]corev1.VolumeMount{}
		for _, m := range spec.Containers[0].VolumeMounts {
			mounts[m.Name] = m
		}
		for _, v := range spec.Volumes {
			m, ok := mounts[v.Name]
			switch {
			case !ok:
				t.Errorf("%s: volume %s is not mounted", name, v.Name)
			case v.ConfigMap != nil && v.ConfigMap.Name != o.configs[0].Name:
				t.Errorf("%s: the configuration is %s, and mounted is %s", name, o.configs[0].Name, v.ConfigMap.Name)
			case v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName != o.claims[0].Name:
				t.Errorf("%s: the claim is %s, and mounted is %s", name, o.claims[0].Name, v.PersistentVolumeClaim.ClaimName)
			case v.Secret != nil && (!m.ReadOnly || *v.Secret.DefaultMode&0o007 != 0):
				t.Errorf("%s: the secret is not read-only, or everybody's: %o", name, *v.Secret.DefaultMode)
			}
			delete(mounts, v.Name)
		}
		if len(mounts) > 0 {
			t.Errorf("%s: mounts without a volume: %v", name, mounts)
		}
		text := o.configs[0].Data["tsupload.yaml"]
		for _, file := range regexp.MustCompile(`\{file: ([^}]+)\}`).FindAllStringSubmatch(text, -1) {
			if !strings.HasPrefix(file[1], "/run/secrets/tsupload/") {
				t.Errorf("%s: the secret %s is nowhere mounted", name, file[1])
			}
		}
		// Not the volume itself, where fsGroup lets the group write.
		if !strings.Contains(text, "dir: /var/lib/tsupload/state}") {
			t.Errorf("%s: the state directory is not below the volume:\n%s", name, text)
		}
	}
}

// statuses are the program's, from the table in the README that a test of the
// program keeps as it is.
func statuses(t *testing.T) []int32 {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := bytes.Cut(readme, []byte("## Exit status\n"))
	table, _, _ = bytes.Cut(table, []byte("\n## "))
	var codes []int32
	for _, row := range regexp.MustCompile(`(?m)^\| ([\d, ]+) \|`).FindAllSubmatch(table, -1) {
		for text := range strings.SplitSeq(string(row[1]), ", ") {
			code, err := strconv.ParseInt(text, 10, 32)
			if err != nil {
				t.Fatal(err)
			}
			codes = append(codes, int32(code))
		}
	}
	if len(codes) < 12 {
		t.Fatalf("got only the statuses %v", codes)
	}
	return codes
}

func TestCronJob(t *testing.T) {
	t.Parallel()
	o := build(t, "cronjob")
	cron := o.cronjobs[0].Spec
	job := cron.JobTemplate.Spec
	if _, err := time.LoadLocation(*cron.TimeZone); err != nil || cron.ConcurrencyPolicy != batchv1.ForbidConcurrent || *cron.StartingDeadlineSeconds != 600 {
		t.Errorf("got %s, %s, %d: %v", *cron.TimeZone, cron.ConcurrencyPolicy, *cron.StartingDeadlineSeconds, err)
	}
	if job.Template.Spec.RestartPolicy != corev1.RestartPolicyNever || *job.BackoffLimit < 1 {
		t.Errorf("got restartPolicy %s, backoffLimit %d", job.Template.Spec.RestartPolicy, *job.BackoffLimit)
	}
	if rules := job.PodFailurePolicy.Rules; rules[0].Action != batchv1.PodFailurePolicyActionIgnore || rules[0].OnPodConditions[0].Type != corev1.DisruptionTarget {
		t.Errorf("a lost node counts: %+v", rules[0])
	}
	actions := map[int32]batchv1.PodFailurePolicyAction{}
	for _, rule := range job.PodFailurePolicy.Rules {
		if rule.OnExitCodes == nil {
			continue
		}
		if rule.OnExitCodes.Operator != batchv1.PodFailurePolicyOnExitCodesOpIn || *rule.OnExitCodes.ContainerName != "tsupload" || !slices.IsSorted(rule.OnExitCodes.Values) {
			t.Errorf("got the rule %+v", rule.OnExitCodes)
		}
		for _, code := range rule.OnExitCodes.Values {
			if actions[code] != "" {
				t.Errorf("status %d is there twice", code)
			}
			actions[code] = rule.Action
		}
	}
	for _, code := range statuses(t) {
		want := batchv1.PodFailurePolicyActionFailJob
		switch code {
		case 0:
			want = ""
		case 1, 5, 8, 130, 143: // may come out otherwise the next time
			want = batchv1.PodFailurePolicyActionCount
		}
		if actions[code] != want {
			t.Errorf("status %d: got %q, want %q", code, actions[code], want)
		}
		delete(actions, code)
	}
	if len(actions) > 0 {
		t.Errorf("tsupload has no such statuses: %v", actions)
	}
}

func TestDeployment(t *testing.T) {
	t.Parallel()
	o := build(t, "deployment")
	d := o.deployments[0]
	if *d.Spec.Replicas != 1 || d.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType {
		t.Errorf("got %d replicas, %s: two would fight for the ledger", *d.Spec.Replicas, d.Spec.Strategy.Type)
	}
	for key, value := range d.Spec.Selector.MatchLabels {
		if d.Spec.Template.Labels[key] != value {
			t.Errorf("the selector's %s=%s is not on the pod: %v", key, value, d.Spec.Template.Labels)
		}
	}
	c := d.Spec.Template.Spec.Containers[0]
	if c.Ports[0].Name != "http" || c.Ports[0].ContainerPort != 9464 || !slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool {
		return e.Name == "TSUPLOAD_LISTEN_ADDRESS" && strings.HasSuffix(e.Value, ":9464")
	}) {
		t.Errorf("the listener is not where the probes look: %+v %+v", c.Ports, c.Env)
	}
	for path, probe := range map[string]*corev1.Probe{"/livez": c.LivenessProbe, "/readyz": c.ReadinessProbe} {
		if probe.HTTPGet.Path != path || probe.HTTPGet.Port.StrVal != "http" {
			t.Errorf("got a probe at %+v, want %s", probe.HTTPGet, path)
		}
	}
}

func TestLedgerJob(t *testing.T) {
	t.Parallel()
	job := build(t, "ledger").jobs[0].Spec
	if *job.BackoffLimit != 0 || job.Template.Spec.RestartPolicy != corev1.RestartPolicyNever {
		t.Errorf("got backoffLimit %d, restartPolicy %s: a ledger is created once", *job.BackoffLimit, job.Template.Spec.RestartPolicy)
	}
	if args := job.Template.Spec.Containers[0].Args; !slices.Equal(args, []string{"ledger", "create"}) {
		t.Errorf("got %v", args)
	}
}

// With the component identity the pod has a token of its own, mounted read-only
// where docs/auth.md says that it is, and still none for Kubernetes itself.
func TestIdentityComponent(t *testing.T) {
	t.Parallel()
	docs, err := os.ReadFile("../../docs/auth.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cronjob", "deployment"} {
		dir, err := filepath.EvalSymlinks(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		manifests, err := filepath.Abs("../kubernetes")
		if err != nil {
			t.Fatal(err)
		}
		if manifests, err = filepath.Rel(dir, manifests); err != nil {
			t.Fatal(err)
		}
		text := "resources: [" + filepath.Join(manifests, "overlays", name) + "]\ncomponents: [" + filepath.Join(manifests, "components/identity") + "]\n"
		if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		spec := buildIn(t, name, dir).pod().Spec
		var token *corev1.ServiceAccountTokenProjection
		for _, v := range spec.Volumes {
			if v.Name == "identity" {
				token = v.Projected.Sources[0].ServiceAccountToken
			}
		}
		if token == nil || token.Path != "token" || token.Audience == "" || *token.ExpirationSeconds != 3600 || *spec.AutomountServiceAccountToken {
			t.Fatalf("%s: got the token %+v", name, token)
		}
		i := slices.IndexFunc(spec.Containers[0].VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == "identity" })
		if i < 0 || !spec.Containers[0].VolumeMounts[i].ReadOnly {
			t.Fatalf("%s: it is not mounted read-only: %+v", name, spec.Containers[0].VolumeMounts)
		}
		if at := "assertion: {file: " + spec.Containers[0].VolumeMounts[i].MountPath + "/" + token.Path + "}"; !bytes.Contains(docs, []byte(at)) {
			t.Errorf("%s: docs/auth.md does not say %s", name, at)
		}
	}
}
