package main

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// hooksPort is where Tally's deliveries come in.
const hooksPort = 8080

// foreign is a document of a kind that is none of Kubernetes' own.
type foreign map[string]any

// at returns what is at the end of a path; nil where the path ends before.
func (f foreign) at(path ...string) any {
	var value any = map[string]any(f)
	for _, key := range path {
		inner, _ := value.(map[string]any)
		value = inner[key]
	}
	return value
}

// variant is what one kustomization makes.
type variant struct{ documents []any }

// of returns the documents of a type.
func of[T any](v *variant) (found []T) {
	for _, d := range v.documents {
		if document, ok := d.(T); ok {
			found = append(found, document)
		}
	}
	return found
}

// kind returns the foreign documents of a kind.
func (v *variant) kind(kind string) (found []foreign) {
	for _, d := range of[foreign](v) {
		if d["kind"] == kind {
			found = append(found, d)
		}
	}
	return found
}

// rules are what a tallyd with a log needs.
var rules = []struct {
	words string
	holds func(*variant) bool
}{
	{"one process, and no stateless replica beside it", oneProcess},
	{"it takes deliveries, has a public address, a directory and the whole of the key's requests", flags},
	{"its directory is on a claim of its own, and on nothing that goes with the pod", claim},
	{"its user may write the volume and nothing else", confined},
	{"its memory's limit is above what Go is told to keep to", memory},
	{"a Service leads to the port for deliveries", reached},
	{"the port for deliveries is open to the ingress controller alone, and no rule is without a port or a peer", guarded},
	{"what is open to the web leads to /hooks and the Service alone, under the host of --webhook-public-url", published},
	{"Istio demands certificates but on the ports for deliveries and for operators, of which the first takes deliveries alone", istio},
	{"Linkerd demands an identity but on the port for deliveries", linkerd},
}

// judge returns which rules a variant with a log breaks; a variant without one has none to keep.
func (v *variant) judge() error {
	if len(of[*appsv1.StatefulSet](v)) == 0 {
		return nil
	}
	for _, rule := range rules {
		if !rule.holds(v) {
			return fmt.Errorf("this does not hold: %s", rule.words)
		}
	}
	return nil
}

func (v *variant) set() *appsv1.StatefulSet { return of[*appsv1.StatefulSet](v)[0] }

func (v *variant) container() corev1.Container { return v.set().Spec.Template.Spec.Containers[0] }

// flag returns the value of a flag, with variables in it.
func (v *variant) flag(name string) string {
	for _, arg := range v.container().Args {
		if value, found := strings.CutPrefix(arg, name+"="); found {
			for _, e := range v.container().Env {
				value = strings.ReplaceAll(value, "$("+e.Name+")", e.Value)
			}
			return value
		}
	}
	return ""
}

func oneProcess(v *variant) bool {
	sets, replicas := of[*appsv1.StatefulSet](v), v.set().Spec.Replicas
	return len(sets) == 1 && replicas != nil && *replicas == 1 && len(of[*appsv1.Deployment](v)) == 0
}

func flags(v *variant) bool {
	address, err := url.Parse(v.flag("--webhook-public-url"))
	return v.flag("--webhook-listen") == fmt.Sprintf("0.0.0.0:%d", hooksPort) && err == nil && address.Scheme == "https" && address.Path == "" &&
		v.flag("--tally-rate") == "100" && v.flag("--data-dir") != ""
}

func claim(v *variant) bool {
	i := slices.IndexFunc(v.container().VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == v.flag("--data-dir") })
	if i < 0 {
		return false
	}
	mount := v.container().VolumeMounts[i]
	return !mount.ReadOnly &&
		slices.ContainsFunc(v.set().Spec.VolumeClaimTemplates, func(c corev1.PersistentVolumeClaim) bool { return c.Name == mount.Name }) &&
		!slices.ContainsFunc(v.set().Spec.Template.Spec.Volumes, func(volume corev1.Volume) bool { return volume.Name == mount.Name })
}

func confined(v *variant) bool {
	pod, container := v.set().Spec.Template.Spec.SecurityContext, v.container().SecurityContext
	return pod != nil && pod.FSGroup != nil && pod.RunAsNonRoot != nil && *pod.RunAsNonRoot &&
		container != nil && container.ReadOnlyRootFilesystem != nil && *container.ReadOnlyRootFilesystem
}

func memory(v *variant) bool {
	limit := v.container().Resources.Limits[corev1.ResourceMemory]
	for _, e := range v.container().Env {
		if e.Name == "GOMEMLIMIT" {
			told, err := resource.ParseQuantity(strings.TrimSuffix(e.Value, "B"))
			return err == nil && limit.Cmp(told) > 0
		}
	}
	return false
}

// service returns the Service that leads to the port for deliveries.
func (v *variant) service() *corev1.Service {
	for _, s := range of[*corev1.Service](v) {
		for _, port := range s.Spec.Ports {
			for _, own := range v.container().Ports {
				if own.ContainerPort == hooksPort && port.TargetPort.String() == own.Name && selects(s.Spec.Selector, v.set().Spec.Template.Labels) {
					return s
				}
			}
		}
	}
	return nil
}

func selects(selector, labels map[string]string) bool {
	for key, value := range selector {
		if labels[key] != value {
			return false
		}
	}
	return len(selector) > 0
}

func reached(v *variant) bool { return v.service() != nil }

func guarded(v *variant) bool {
	open := 0
	for _, policy := range of[*networkingv1.NetworkPolicy](v) {
		for _, rule := range policy.Spec.Ingress {
			if len(rule.Ports) == 0 || len(rule.From) == 0 {
				return false
			}
			for _, port := range rule.Ports {
				if port.Port.IntValue() != hooksPort {
					continue
				}
				open++
				from := rule.From[0].NamespaceSelector
				if len(rule.Ports) > 1 || len(rule.From) > 1 || from == nil || from.MatchLabels["tallyd.io/ingress"] != "true" {
					return false
				}
			}
		}
	}
	return open == 1
}

func published(v *variant) bool {
	address, err := url.Parse(v.flag("--webhook-public-url"))
	if err != nil {
		return false
	}
	for _, ingress := range of[*networkingv1.Ingress](v) {
		if len(ingress.Spec.TLS) == 0 || ingress.Spec.DefaultBackend != nil || !ingressLeads(ingress, address.Host, v.service().Name) {
			return false
		}
	}
	for _, route := range of[*gatewayv1.HTTPRoute](v) {
		if !slices.Equal(route.Spec.Hostnames, []gatewayv1.Hostname{gatewayv1.Hostname(address.Host)}) || !routeLeads(route, v.service().Name) {
			return false
		}
	}
	return true
}

func ingressLeads(ingress *networkingv1.Ingress, host, service string) bool {
	for _, rule := range ingress.Spec.Rules {
		if rule.Host != host || rule.HTTP == nil {
			return false
		}
		for _, path := range rule.HTTP.Paths {
			if path.Path != "/hooks" || path.Backend.Service == nil || path.Backend.Service.Name != service {
				return false
			}
		}
	}
	return len(ingress.Spec.Rules) > 0
}

func routeLeads(route *gatewayv1.HTTPRoute, service string) bool {
	for _, rule := range route.Spec.Rules {
		for _, match := range rule.Matches {
			if match.Path == nil || match.Path.Value == nil || *match.Path.Value != "/hooks" {
				return false
			}
		}
		if len(rule.Matches) == 0 || len(rule.Filters) > 0 || len(rule.BackendRefs) != 1 || string(rule.BackendRefs[0].Name) != service {
			return false
		}
	}
	return len(route.Spec.Rules) > 0
}

func istio(v *variant) bool {
	for _, p := range v.kind("PeerAuthentication") {
		ports, _ := p.at("spec", "portLevelMtls").(map[string]any)
		if p.at("spec", "mtls", "mode") != "STRICT" || len(ports) != 2 || ports["9464"] == nil || ports["8080"] == nil {
			return false
		}
		denials := v.kind("AuthorizationPolicy")
		if len(denials) != 1 || denials[0].at("spec", "action") != "DENY" {
			return false
		}
		if said := fmt.Sprint(denials[0].at("spec", "rules")); !strings.Contains(said, "notPaths:[/hooks/*] ports:[8080]") || !strings.Contains(said, "notMethods:[POST] ports:[8080]") {
			return false
		}
	}
	return true
}

func linkerd(v *variant) bool {
	servers := v.kind("Server")
	for _, s := range servers {
		want := "MeshTLSAuthentication"
		if s.at("spec", "port") == "hooks" {
			want = "NetworkAuthentication"
		}
		allowed := slices.ContainsFunc(v.kind("AuthorizationPolicy"), func(p foreign) bool {
			said := fmt.Sprint(p.at("spec", "requiredAuthenticationRefs"))
			return p.at("spec", "targetRef", "name") == s.at("metadata", "name") && strings.Contains(said, "kind:"+want+" ") && strings.Count(said, "kind:") == 1
		})
		if !allowed {
			return false
		}
	}
	return len(servers) == 0 || len(servers) == 2
}
