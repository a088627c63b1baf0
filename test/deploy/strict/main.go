// Command strict reads Kubernetes manifests, and demands that each document of Kubernetes' own kinds has no field that its type lacks.
// Those of meshes are the meshes' own tools' to check. A file with a StatefulSet is a tallyd that keeps a log: what that needs is checked
// over all its documents. It is a module of its own, so that Kubernetes' types stay out of tallyd's.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	strict "sigs.k8s.io/yaml"
)

var kinds = map[string]func() any{
	"v1/ConfigMap":                       func() any { return &corev1.ConfigMap{} },
	"v1/Service":                         func() any { return &corev1.Service{} },
	"v1/ServiceAccount":                  func() any { return &corev1.ServiceAccount{} },
	"apps/v1/Deployment":                 func() any { return &appsv1.Deployment{} },
	"apps/v1/StatefulSet":                func() any { return &appsv1.StatefulSet{} },
	"policy/v1/PodDisruptionBudget":      func() any { return &policyv1.PodDisruptionBudget{} },
	"networking.k8s.io/v1/NetworkPolicy": func() any { return &networkingv1.NetworkPolicy{} },
	"networking.k8s.io/v1/Ingress":       func() any { return &networkingv1.Ingress{} },

	"gateway.networking.k8s.io/v1/HTTPRoute": func() any { return &gatewayv1.HTTPRoute{} },
	"gateway.networking.k8s.io/v1/GRPCRoute": func() any { return &gatewayv1.GRPCRoute{} },
}

func main() {
	read := 0
	for _, path := range os.Args[1:] {
		n, err := check(path)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
			os.Exit(1)
		}
		read += n
	}
	if read == 0 {
		fmt.Fprintln(os.Stderr, "usage: strict FILE...; none of the files holds a document of Kubernetes' own")
		os.Exit(2)
	}
	fmt.Printf("manifests: %d documents keep their types\n", read)
}

// check returns how many documents of a file are Kubernetes' own, all of them good, and together what they should be.
func check(path string) (read int, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }()
	all := &variant{}
	for documents := yaml.NewYAMLReader(bufio.NewReader(file)); ; {
		text, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return read, all.judge()
		} else if err != nil {
			return read, err
		}
		document, ours, err := decode(text)
		if err != nil {
			return read, err
		}
		if all.documents = append(all.documents, document); ours {
			read++
		}
	}
}

// decode reads a document as its type where that is Kubernetes' own, else as a map.
func decode(text []byte) (document any, ours bool, err error) {
	var kind metav1.TypeMeta
	if err := strict.Unmarshal(text, &kind); err != nil {
		return nil, false, err
	}
	empty, ours := kinds[kind.APIVersion+"/"+kind.Kind]
	if !ours {
		foreign := foreign{}
		return foreign, false, strict.Unmarshal(text, &foreign)
	}
	document = empty()
	if err := strict.UnmarshalStrict(bytes.TrimSpace(text), document); err != nil {
		return nil, true, fmt.Errorf("%s: %w", kind.Kind, err)
	}
	return document, true, nil
}
