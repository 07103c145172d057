{{- define "stream-worker.security" -}}
{{- ((include "stream-worker.spec" . | fromJson).kafka | default dict).security | default dict | toJson -}}
{{- end }}

{{/* What KEDA takes out of which Secret, to talk to the brokers as the spec does. */}}
{{- define "stream-worker.secretTargets" -}}
{{- $security := include "stream-worker.security" . | fromJson -}}
{{- $targets := list -}}
{{- if or (eq ($security.mechanism | toString) "OAUTHBEARER") $security.key_password -}}
{{- fail "keda.authenticationRef: for OAUTHBEARER and keys with a password the chart makes no TriggerAuthentication; name one of yours" -}}
{{- end -}}
{{- if $security.mechanism -}}
{{- $secret := include "stream-worker.credentialsName" . -}}
{{- if not $secret -}}
{{- fail "keda: it needs the user and the password in a Secret: give credentials.existingSecret, or keda.authenticationRef" -}}
{{- end -}}
{{- $targets = append $targets (dict "parameter" "username" "name" $secret "key" .Values.credentials.usernameKey) -}}
{{- $targets = append $targets (dict "parameter" "password" "name" $secret "key" .Values.credentials.passwordKey) -}}
{{- end -}}
{{- if and (or $security.ca $security.certificate) (not .Values.tls.existingSecret) -}}
{{- fail "keda: it needs the certificates in a Secret: give tls.existingSecret, or keda.authenticationRef" -}}
{{- end -}}
{{- if $security.ca -}}
{{- $targets = append $targets (dict "parameter" "ca" "name" .Values.tls.existingSecret "key" .Values.tls.caKey) -}}
{{- end -}}
{{- if $security.certificate -}}
{{- $targets = append $targets (dict "parameter" "cert" "name" .Values.tls.existingSecret "key" .Values.tls.certificateKey) -}}
{{- $targets = append $targets (dict "parameter" "key" "name" .Values.tls.existingSecret "key" .Values.tls.keyKey) -}}
{{- end -}}
{{- with $targets -}}{{- toYaml . -}}{{- end -}}
{{- end }}

{{/* One trigger for each topic that a pipeline reads; one for all topics of its group where it reads by a pattern. */}}
{{- define "stream-worker.triggers" -}}
{{- $keda := .Values.keda -}}
{{- $further := $keda.metadata | default dict -}}
{{- $security := include "stream-worker.security" . | fromJson -}}
{{- $mechanisms := dict "PLAIN" "plaintext" "SCRAM-SHA-256" "scram_sha256" "SCRAM-SHA-512" "scram_sha512" -}}
{{- $common := dict
  "bootstrapServers" (include "stream-worker.brokers" .)
  "lagThreshold" ($keda.lagThreshold | toString)
  "activationLagThreshold" ($keda.activationLagThreshold | toString)
  "version" $keda.version -}}
{{- with get $mechanisms ($security.mechanism | toString) -}}{{- $_ := set $common "sasl" . -}}{{- end -}}
{{- if hasSuffix "SSL" ($security.protocol | toString) -}}{{- $_ := set $common "tls" "enable" -}}{{- end -}}
{{- if $security.skip_verify -}}{{- $_ := set $common "unsafeSsl" "true" -}}{{- end -}}
{{- $reference := $keda.authenticationRef -}}
{{- if and (not $reference) (include "stream-worker.secretTargets" .) -}}
{{- $reference = dict "name" (include "stream-worker.fullname" .) -}}
{{- end -}}
{{- $triggers := list -}}
{{- range $read := (include "stream-worker.reading" . | fromJson).reading -}}
{{- $policy := eq $read.start "newest" | ternary "latest" "earliest" -}}
{{- $topics := $read.topics -}}
{{- range $topics -}}
{{- if hasPrefix "^" . -}}{{- $topics = list "" -}}{{- end -}}
{{- end -}}
{{- if and (has "" $topics) (eq (int $keda.minReplicas) 0) -}}
{{- fail (printf "keda.minReplicas: pipelines.%s reads by a pattern, so KEDA sees its topics only once it has run; legal is 1 or more" $read.pipeline) -}}
{{- end -}}
{{- range $key := list "limitToPartitionsWithLag" "ensureEvenDistributionOfPartitions" -}}
{{- if and (has "" $topics) (hasKey $further $key) -}}
{{- fail (printf "keda.metadata.%s: it needs topics, and pipelines.%s reads by a pattern" $key $read.pipeline) -}}
{{- end -}}
{{- end -}}
{{- range $topics -}}
{{- $metadata := merge (dict "consumerGroup" $read.group "offsetResetPolicy" $policy) $further $common -}}
{{- if . -}}{{- $_ := set $metadata "topic" . -}}{{- end -}}
{{- $trigger := dict "type" "kafka" "metadata" $metadata -}}
{{- with $reference -}}{{- $_ := set $trigger "authenticationRef" . -}}{{- end -}}
{{- $triggers = append $triggers $trigger -}}
{{- end -}}
{{- end -}}
{{- toYaml $triggers -}}
{{- end }}
