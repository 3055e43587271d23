"""Recipes: named losses, one short YAML file each, with its source."""

from preceptor.recipes.reader import Recipe, build_recipe_parts, read_recipe, recipe, recipe_names

__all__ = ["Recipe", "build_recipe_parts", "read_recipe", "recipe", "recipe_names"]
