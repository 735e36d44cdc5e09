package main

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/exampleco/tsupload/source"
)

// What init asks for a tracker that is read through its API, in place of a sample.

// tracker asks for what the API needs.
func (n *initiation) tracker(ctx context.Context) error {
	s := &n.source
	if !slices.Contains(source.APIs(), s.tracker) {
		return usage("one of "+strings.Join(source.APIs(), ", "), "--tracker: no API of %q is known", s.tracker)
	}
	if n.sample+s.path+s.preset+s.dateFormat+s.timeFormat+s.durationFormat+s.decimal != "" || len(n.columns) > 0 {
		return usage("leave them out, or --tracker", "--tracker excludes a sample, --path, --preset, --column and the flags for formats")
	}
	given, err := parseColumns(n.params)
	if err != nil {
		return usage("write it like workspace=1234567", "--param: not all of %s are NAME=VALUE", strings.Join(n.params, " "))
	}
	params, ownURL := source.APIParams(s.tracker)
	s.params = map[string]string{}
	maps.Copy(s.params, given)
	if ownURL || s.url != "" {
		if err := n.need(ctx, "tracker-url", "address of your installation, such as https://"+s.tracker+".example.com", &s.url, "", false, func(text string) error {
			s.url = text
			return n.faultsOf("sources[0].http.url")
		}); err != nil {
			return err
		}
	}
	for _, p := range params {
		value := given[p.Name]
		if err := n.need(ctx, "param "+p.Name+"=VALUE", p.Name+": "+p.What, &value, "", !p.Required, func(string) error { return nil }); err != nil {
			return err
		}
		if s.params[p.Name] = value; value == "" {
			delete(s.params, p.Name)
		}
	}
	if err := n.need(ctx, "token-from", "where the token for it lies: file:PATH, env:NAME, credential:NAME, keyring:NAME or command:PROGRAM; not the token itself", &n.tokenFrom, "", false, func(text string) error {
		if text == "keyring" {
			return &usageError{message: "that is where the client secret lies", hint: "give the token a name of its own: keyring:NAME"}
		}
		ref, err := secretReference(text)
		if err != nil {
			return err
		}
		s.token = ref
		return n.faultsOf("sources[0].http.auth.token")
	}); err != nil {
		return err
	}
	s.notes = map[string]string{"http": "persons and projects come as ids: people and projects say what they are called"}
	return n.need(ctx, "user", "user id of the one person whose hours these are; empty: persons come as ids, for people to name", &s.user, "", true, func(text string) error {
		s.user = text
		return n.faultsOf("sources[0].user")
	})
}

// http is the block's export through an API, on one line.
func (s *sourceBlock) http() string {
	var params []string
	for _, name := range slices.Sorted(maps.Keys(s.params)) {
		params = append(params, yamlText(name)+": "+yamlText(s.params[name]))
	}
	parts := []string{"preset: " + yamlText(s.tracker), "params: {" + strings.Join(params, ", ") + "}"}
	if s.url != "" {
		parts = append(parts, "url: "+yamlText(s.url))
	}
	if s.token != "" {
		parts = append(parts, "auth: {token: "+s.token+"}")
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
