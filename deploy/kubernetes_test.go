package deploy_test

import (
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/exampleco/tsupload/internal/config"
)

// ending is how long the program may take that was told to stop: what the
// daemon asks systemd for.
func ending(cfg *config.Config) time.Duration {
	return cfg.Run.Drain + cfg.Notify.Wait + 15*time.Second
}

// manifestConfig is the configuration that the manifests come with.
func manifestConfig(t *testing.T) *config.Config {
	t.Helper()
	cfg, err := config.Load(config.LoadOptions{Path: "kubernetes/base/tsupload.yaml", Getenv: func(string) string { return "" }})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// What the manifests promise about our own limits, with their configuration and
// with none; all else about them is looked at by the module check.
func TestManifestsFitTheProgram(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("kubernetes/overlays/*/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, file := range files {
		for _, m := range regexp.MustCompile(`(?m)^ *(terminationGracePeriodSeconds|activeDeadlineSeconds): (\d+)`).FindAllStringSubmatch(read(t, file), -1) {
			seconds, err := strconv.Atoi(m[2])
			if err != nil {
				t.Fatal(err)
			}
			found[m[1]]++
			for _, cfg := range []*config.Config{manifestConfig(t), config.Default()} {
				least := ending(cfg)
				if m[1] == "activeDeadlineSeconds" && filepath.Base(file) == "cronjob.yaml" {
					least += cfg.Run.Deadline
				}
				if got := time.Duration(seconds) * time.Second; got <= least {
					t.Errorf("%s: %s is %s, want more than %s", file, m[1], got, least)
				}
			}
		}
	}
	if found["terminationGracePeriodSeconds"] != 3 || found["activeDeadlineSeconds"] != 2 {
		t.Errorf("got %v", found)
	}
}
