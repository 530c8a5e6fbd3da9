/*
 * ast_walk.c - which nodes stand directly below a node, in the order in which Jinja2's compiler visits them.
 */
#include "text/template/ast_walk.h"

bool ast_each(const JinjaNodes *nodes, AstVisitor *visit, void *context)
{
    for (size_t i = 0; i < nodes->n; i++) {
        if (!visit(context, nodes->at[i])) return false;
    }
    return true;
}

bool ast_maybe(JinjaNode *node, AstVisitor *visit, void *context) { return node == NULL || visit(context, node); }

static bool each_argument(const JinjaCallArguments *arguments, AstVisitor *visit, void *context)
{
    return ast_each(&arguments->positional, visit, context) && ast_each(&arguments->values, visit, context) &&
           ast_maybe(arguments->dynamic_positional, visit, context) &&
           ast_maybe(arguments->dynamic_named, visit, context);
}

bool ast_each_child(JinjaNode *node, AstVisitor *visit, void *context)
{
    switch (node->type) {
    case NODE_TUPLE:
    case NODE_LIST:
    case NODE_CONCAT:
    case NODE_OUTPUT:
        return ast_each(&node->items, visit, context);
    case NODE_DICT:
        for (size_t i = 0; i < node->dict.keys.n; i++) {
            if (!visit(context, node->dict.keys.at[i]) || !visit(context, node->dict.values.at[i])) return false;
        }
        return true;
    case NODE_CONDITION:
        return visit(context, node->condition.test) && visit(context, node->condition.then) &&
               ast_maybe(node->condition.otherwise, visit, context);
    case NODE_AND:
    case NODE_OR:
    case NODE_BINARY:
        return visit(context, node->binary.left) && visit(context, node->binary.right);
    case NODE_NOT:
    case NODE_NEGATE:
    case NODE_POSITIVE:
        return visit(context, node->operand);
    case NODE_COMPARE:
        return visit(context, node->compare.first) && ast_each(&node->compare.rest, visit, context);
    case NODE_ATTRIBUTE:
        return visit(context, node->attribute.object);
    case NODE_ITEM:
        return visit(context, node->item.object) && visit(context, node->item.argument);
    case NODE_SLICE:
        return ast_maybe(node->slice.start, visit, context) && ast_maybe(node->slice.stop, visit, context) &&
               ast_maybe(node->slice.step, visit, context);
    case NODE_CALL:
        return visit(context, node->call.callee) && each_argument(&node->call.arguments, visit, context);
    case NODE_FILTER:
    case NODE_TEST:
        return ast_maybe(node->filter.subject, visit, context) &&
               each_argument(&node->filter.arguments, visit, context);
    case NODE_LOAD_TEMPLATE:
        return visit(context, node->load_template.source);
    default:
        return true;
    }
}

static bool each_of_function(JinjaFunctionNode *function, AstVisitor *visit, void *context)
{
    return ast_each(&function->parameters, visit, context) && ast_each(&function->defaults, visit, context) &&
           ast_each(&function->body, visit, context);
}

bool ast_each_descendant(JinjaNode *node, AstVisitor *visit, void *context)
{
    switch (node->type) {
    case NODE_IF:
        return visit(context, node->branch.test) && ast_each(&node->branch.body, visit, context) &&
               ast_each(&node->branch.elifs, visit, context) && ast_each(&node->branch.otherwise, visit, context);
    case NODE_FOR:
        return visit(context, node->loop.target) && visit(context, node->loop.iterable) &&
               ast_each(&node->loop.body, visit, context) && ast_each(&node->loop.otherwise, visit, context) &&
               ast_maybe(node->loop.test, visit, context);
    case NODE_SET:
        return visit(context, node->set.target) && visit(context, node->set.value);
    case NODE_SET_BLOCK:
        return visit(context, node->set.target) && ast_maybe(node->set.filter, visit, context) &&
               ast_each(&node->set.body, visit, context);
    case NODE_FILTER_BLOCK:
        return ast_each(&node->filter_block.body, visit, context) && visit(context, node->filter_block.filter);
    case NODE_WITH:
        return ast_each(&node->with.targets, visit, context) && ast_each(&node->with.values, visit, context) &&
               ast_each(&node->with.body, visit, context);
    case NODE_MACRO:
    case NODE_GENERATION:
        return each_of_function(node->function, visit, context);
    case NODE_CALL_BLOCK:
        return visit(context, node->call_block.call) && each_of_function(node->call_block.function, visit, context);
    case NODE_AUTOESCAPE:
        return visit(context, node->autoescape.value) && ast_each(&node->autoescape.body, visit, context);
    case NODE_BLOCK:
        return ast_each(&node->block.body, visit, context);
    default:
        return ast_each_child(node, visit, context);
    }
}
