{{/* Refuse what cannot work; whatever reads the spec begins with it. */}}
{{- define "stream-worker.checked" -}}
{{- $values := .Values -}}
{{- if and (not .Values.spec) (not .Values.existingConfigMap.name) -}}
{{- fail "spec: give the spec, as by --set-file spec=flights.yaml, or the ConfigMap that holds it in existingConfigMap.name" -}}
{{- end -}}
{{- range list
  (list "spec" .Values.spec "existingConfigMap.name" .Values.existingConfigMap.name)
  (list "handlers.files" .Values.handlers.files "handlers.existingConfigMap" .Values.handlers.existingConfigMap)
  (list "credentials.values" .Values.credentials.values "credentials.existingSecret" .Values.credentials.existingSecret)
  (list "autoscaling.enabled" .Values.autoscaling.enabled "keda.enabled" .Values.keda.enabled)
  (list "podMonitor.enabled" .Values.podMonitor.enabled "serviceMonitor.enabled" .Values.serviceMonitor.enabled) -}}
{{- if and (index . 1) (index . 3) -}}
{{- fail (printf "%s and %s exclude each other: give one of them" (index . 0) (index . 2)) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.workload.volumeClaimTemplates (ne .Values.workload.kind "StatefulSet") -}}
{{- fail "workload.volumeClaimTemplates: a Deployment keeps no volumes; legal with workload.kind StatefulSet" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled (not .Values.service.enabled) -}}
{{- fail "serviceMonitor.enabled: it finds pods by their Service; service.enabled must be true" -}}
{{- end -}}
{{- if .Values.spec -}}
{{- $spec := include "stream-worker.spec" . | fromJson -}}
{{- include "stream-worker.withoutSecrets" (dict "at" "kafka" "value" $spec.kafka) -}}
{{- range .Values.run.only -}}
{{- if not (hasKey $spec.pipelines .) -}}
{{- fail (printf "run.only: the spec has no pipeline %s; legal are %s" . (keys $spec.pipelines | sortAlpha | join ", ")) -}}
{{- end -}}
{{- end -}}
{{- range (include "stream-worker.instances" . | fromJson).instances -}}
{{- if not (contains "${" .) -}}
{{- fail (printf "spec: instance: %s would be that of every pod, and each needs one of its own: write ${POD_NAME}" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Refuse a spec in which a map that the chart reads is something else; the worker looks at all the rest. */}}
{{- define "stream-worker.formed" -}}
{{- if not .pipelines -}}
{{- fail "spec: pipelines: there are none; legal is a map such as {delays: {from: flights, handler: delays}}" -}}
{{- end -}}
{{- range $at, $value := pick . "kafka" "topics" "pipelines" -}}
{{- include "stream-worker.map" (dict "at" $at "value" $value) -}}
{{- end -}}
{{- include "stream-worker.map" (dict "at" "kafka.security" "value" (.kafka | default dict).security) -}}
{{- range $name, $topic := .topics -}}
{{- include "stream-worker.map" (dict "at" (printf "topics.%s" $name) "value" $topic) -}}
{{- end -}}
{{- range $name, $pipeline := .pipelines -}}
{{- include "stream-worker.map" (dict "at" (printf "pipelines.%s" $name) "value" ($pipeline | default "nothing")) -}}
{{- end -}}
{{- end }}

{{/* Refuse a `value` that is no map; it is not shown, since in kafka it may be a secret. */}}
{{- define "stream-worker.map" -}}
{{- if not (kindIs "map" (.value | default dict)) -}}
{{- fail (printf "spec: %s: legal is a map, keys with their values, and it is %s" .at (kindIs "slice" .value | ternary "a list" "one value")) -}}
{{- end -}}
{{- end }}

{{/* What the spec and its pipelines have as `instance`, as JSON. */}}
{{- define "stream-worker.instances" -}}
{{- $spec := include "stream-worker.spec" . | fromJson -}}
{{- $instances := list $spec.instance -}}
{{- range $spec.pipelines -}}
{{- $instances = append $instances .instance -}}
{{- end -}}
{{- dict "instances" (compact $instances) | toJson -}}
{{- end }}

{{/* Refuse a secret that is written in the spec: everybody who may read ConfigMaps would see it. `at` is where `value` stands. */}}
{{- define "stream-worker.withoutSecrets" -}}
{{- $at := .at -}}
{{- if kindIs "map" .value -}}
{{- range $key, $value := .value -}}
{{- $here := printf "%s.%s" $at $key -}}
{{- if and $value (regexMatch "(?i)password|passphrase|secret|token|oauthbearer.config|pem$" $key) -}}
{{- include "stream-worker.secretElsewhere" (dict "at" $here "value" $value) -}}
{{- end -}}
{{- include "stream-worker.withoutSecrets" (dict "at" $here "value" $value) -}}
{{- end -}}
{{- else if kindIs "slice" .value -}}
{{- range .value -}}
{{- include "stream-worker.withoutSecrets" (dict "at" $at "value" .) -}}
{{- end -}}
{{- else if contains "PRIVATE KEY-----" (toString .value) -}}
{{- include "stream-worker.secretElsewhere" . -}}
{{- end -}}
{{- end }}

{{/* Refuse the `value` of a secret key, `at`, unless it says where the secret is; a default would be in the ConfigMap. */}}
{{- define "stream-worker.secretElsewhere" -}}
{{- if not (regexMatch "^\\$\\{(file:[^{}]+|[A-Za-z_][A-Za-z0-9_]*)\\}$" (toString .value)) -}}
{{- fail (printf "spec: %s: a ConfigMap is no place for a secret, nor for the default of one; put it into a Secret and write ${file:/run/secrets/kafka/NAME}" .at) -}}
{{- end -}}
{{- end }}

{{/* What cannot work well, a line each. */}}
{{- define "stream-worker.warnings" -}}
{{- if .Values.credentials.values }}
[WARNING] credentials.values is for trials: whoever may read the release's values reads them; make a Secret and name it in credentials.existingSecret.
{{- end }}
{{- if not .Values.resources }}
[WARNING] resources is empty: pods have no requests and no limit of memory.
{{- end }}
{{- if and .Values.podDisruptionBudget.enabled (has (.Values.podDisruptionBudget.maxUnavailable | toString) (list "0" "0%")) }}
[WARNING] podDisruptionBudget.maxUnavailable is {{ .Values.podDisruptionBudget.maxUnavailable }}: no node with a pod of this release can be drained.
{{- end }}
{{- if .Values.spec }}
{{- $busy := include "stream-worker.busy" . | int }}
{{- if and $busy (gt (int .Values.replicaCount) $busy) (not (include "stream-worker.isScaled" .)) }}
[WARNING] replicaCount is {{ .Values.replicaCount }}, and no more than {{ $busy }} pods have partitions to read: the others do nothing.
{{- end }}
{{- $static := (include "stream-worker.instances" . | fromJson).instances }}
{{- if and $static (eq .Values.workload.kind "Deployment") }}
[WARNING] the spec has an instance, but pods of a Deployment have another name each time: partitions of a pod that goes stand still for the session time-out; set workload.kind to StatefulSet.
{{- end }}
{{- if and (not $static) (eq .Values.workload.kind "StatefulSet") }}
[WARNING] pods of the StatefulSet are no static members: the spec has no instance: ${POD_NAME}.
{{- end }}
{{- if and $static (or .Values.autoscaling.enabled .Values.keda.enabled) }}
[WARNING] static members do not leave their group: after each step down partitions stand still for the session time-out.
{{- end }}
{{- end }}
{{- end }}
