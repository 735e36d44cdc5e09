package authserver

import (
	"encoding/json"
	"net/http"
)

// discovery is the metadata of RFC 8414 and of OpenID Connect Discovery, which
// are one document here.
func (s *Server) discovery(w http.ResponseWriter, _ *http.Request) {
	at := func(path string) string { return s.cfg.Issuer + path }
	all := []string{"client_secret_basic", "client_secret_post", "private_key_jwt", "none"}
	confidential := all[:3]
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"issuer":                        s.cfg.Issuer,
		"authorization_endpoint":        at(AuthorizePath),
		"token_endpoint":                at(TokenPath),
		"device_authorization_endpoint": at(DeviceStartPath),
		"introspection_endpoint":        at(IntrospectionPath),
		"revocation_endpoint":           at(RevocationPath),
		"jwks_uri":                      at(KeysPath),

		"scopes_supported":                 allScopes(),
		"response_types_supported":         []string{"code"},
		"response_modes_supported":         responseModes(),
		"grant_types_supported":            grantTypes(),
		"code_challenge_methods_supported": []string{"S256"},

		"token_endpoint_auth_methods_supported":                    all,
		"token_endpoint_auth_signing_alg_values_supported":         assertionAlgs(),
		"introspection_endpoint_auth_methods_supported":            confidential,
		"introspection_endpoint_auth_signing_alg_values_supported": assertionAlgs(),
		"revocation_endpoint_auth_methods_supported":               all,
		"revocation_endpoint_auth_signing_alg_values_supported":    assertionAlgs(),

		"authorization_response_iss_parameter_supported": true,

		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{string(s.keys.alg)},
		"claims_supported":                      []string{"iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "name", "preferred_username"},
		"prompt_values_supported":               promptValues(),
		"request_parameter_supported":           false,
		"request_uri_parameter_supported":       false,
		"claims_parameter_supported":            false,
	})
}
